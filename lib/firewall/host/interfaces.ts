/** This machine's interfaces: those that containers are behind, and what `firewall.interfaces` leaves out. */

import type { Runtime } from "../../runtime/runtime.ts";
import { orNull } from "../../values/errors.ts";
import type { Facing, FirewallConfig } from "../firewall.ts";

/** Bridges of Docker, Podman, CNI, libvirt, LXC and Incus. */
const BRIDGE =
  /^(docker\d+|br-[0-9a-f]{12}|podman\d+|cni\d+|cni-podman\d+|virbr\d+|lxcbr\d+|lxdbr\d+|incusbr\d+)$/;

/** The ends of containers' cables, and the loopback. */
const INNER = /^(lo|veth.*|vnet\d+|cali.*|flannel.*|virbr\d+-nic)$/;

/** Names of this machine's interfaces, from Linux's /proc/net/dev; null where they cannot be read. */
export function readInterfaces(runtime: Runtime): readonly string[] | null {
  const text = orNull(() => runtime.files.readText("/proc/net/dev"));
  if (text === null) return null;
  return [...text.matchAll(/^ *(\S+?):/gm)].map(([, name]) => name!);
}

/** Those that containers or virtual machines are behind, and those that strangers come in by. */
export function sortInterfaces(
  names: readonly string[],
): { readonly bridges: string[]; readonly outer: string[] } {
  return {
    bridges: names.filter((name) => BRIDGE.test(name)),
    outer: names.filter((name) => !BRIDGE.test(name) && !INNER.test(name)),
  };
}

/**
 * This machine's place in its networks: the named interfaces that are there,
 * or else those that strangers come in by. Null where there are none.
 */
export function readFacing(
  runtime: Runtime,
  interfaces: readonly string[],
): Facing | null {
  const names = readInterfaces(runtime) ?? [];
  const devices = interfaces.length > 0
    ? names.filter((name) => interfaces.includes(name))
    : sortInterfaces(names).outer.filter((name) => PLAIN.test(name));
  if (devices.length === 0) return null;
  const addresses = runtime.ownNetworks().map((one) => one.split("/")[0]!);
  return {
    devices: devices.sort(),
    addresses: [...new Set(addresses)].sort(),
  };
}

/** Name of an interface that nft takes as it stands. */
const PLAIN = /^[\w.-]{1,15}$/;

/** Advice of one line, and the configuration that follows it: the meaning of a guard at every interface for containers; null where there are none, or the interfaces are named. */
export function proposeInterfaces(
  names: readonly string[],
  { backend, mode, interfaces }: Pick<
    FirewallConfig,
    "backend" | "mode" | "interfaces"
  >,
): { readonly text: string; readonly cure: string } | null {
  const guards = mode === "guard" &&
    (backend === "nft" || backend === "iptables");
  if (!guards || interfaces.length > 0) return null;
  const { bridges, outer } = sortInterfaces(names);
  if (bridges.length === 0 || outer.length === 0) return null;
  return {
    text: `containers behind ${bridges.join(", ")} that call a guarded port ` +
      "of this machine are dropped without a grant, too",
    cure: `to guard only what comes from outside: firewall: { interfaces: [${
      outer.join(", ")
    }] }`,
  };
}

/** Warnings about the interfaces of a configuration, a line each; none where all are there. */
export function interfaceWarnings(
  runtime: Runtime,
  { interfaces }: Pick<FirewallConfig, "interfaces">,
): string[] {
  const names = interfaces.length > 0 ? readInterfaces(runtime) : null;
  if (names === null) return [];
  return interfaces.filter((name) => !names.includes(name)).map((name) =>
    `firewall.interfaces: there is no interface "${name}" yet: ports are ` +
    "guarded there as soon as there is"
  );
}
