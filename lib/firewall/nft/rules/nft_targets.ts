/** Where forwards lead: names become addresses, and what cannot be is said. */

import { type Runtime, SystemError } from "../../../runtime/runtime.ts";
import {
  formatEndpoint,
  isLoopback,
  parseAddress,
} from "../../../values/address.ts";
import { type Family, familyOf } from "../../family.ts";
import { type Endpoint, FirewallError, type Guarded } from "../../firewall.ts";
import type { Forward, Target } from "./forwards.ts";

/** Where Linux tells whether it passes packets on. */
const PASSES_ON: Readonly<Record<Family, string>> = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
};

/** Where Linux tells whether 127.0.0.0/8 may be reached from outside. */
const ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet";

/**
 * Resolves the services that lead elsewhere. Throws FirewallError where one
 * has no address; whether the kernel would lead there is not asked.
 */
export async function resolveForwards(
  runtime: Runtime,
  services: readonly Guarded[],
): Promise<Forward[]> {
  const forwards: Forward[] = [];
  for (const { name, ports, to, masquerade } of services) {
    if (!to) continue;
    const targets = await resolveTarget(runtime, to);
    const itself = targets.find(({ local, port }) =>
      local &&
      ports.some(({ first, last }) => first <= port && port <= last)
    );
    if (itself) {
      throw new FirewallError(
        `cannot forward to ${quote(to)}: that is this machine's own port`,
        "take `to` out of the service",
      );
    }
    forwards.push({ name, ports, targets, masquerade });
  }
  return forwards;
}

/** The addresses of a target, one a family at most. Throws FirewallError when it has none. */
export async function resolveTarget(
  runtime: Runtime,
  to: Endpoint,
): Promise<Target[]> {
  const own = runtime.ownAddresses();
  const targets = new Map<Family, Target>();
  for (const address of await addressesOf(runtime, to)) {
    const family = familyOf(address);
    if (targets.has(family)) continue;
    const local = isLoopback(address) || own.includes(address);
    targets.set(family, { family, address, port: to.port, local });
  }
  return [...targets.values()];
}

/** Throws FirewallError where the kernel would not lead a connection to its target. */
export function checkTarget(runtime: Runtime, target: Target): void {
  const { family, address, port, local } = target;
  const shown = quote({ host: address, port });
  if (isLoopback(address)) {
    if (family === 4 && isOn(runtime, ROUTE_LOCALNET)) return;
    throw new FirewallError(
      `cannot forward to ${shown}: nftables leads no connection from outside to loopback`,
      "set firewall.backend to gate, or guard the service's own port without `to`",
    );
  }
  if (local || isOn(runtime, PASSES_ON[family])) return;
  const key = PASSES_ON[family].replace("/proc/sys/", "").replaceAll("/", ".");
  throw new FirewallError(
    `cannot forward to ${shown}: this machine passes no packets on`,
    `sysctl -w ${key}=1, and the same in /etc/sysctl.d/`,
  );
}

async function addressesOf(runtime: Runtime, to: Endpoint): Promise<string[]> {
  const address = parseAddress(to.host);
  if (address !== null) return [address];
  try {
    return await runtime.resolve(to.host);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FirewallError(
      `cannot forward to ${quote(to)}: ${error.message}`,
      "an address needs no name service",
    );
  }
}

function isOn(runtime: Runtime, path: string): boolean {
  try {
    return Number(runtime.files.readText(path)) > 0;
  } catch {
    return false;
  }
}

function quote(endpoint: Endpoint): string {
  return `"${formatEndpoint(endpoint)}"`;
}
