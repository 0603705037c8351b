/** Hosts behind this machine: services that it routes to, and the chain that guards them. */

import type { Runtime } from "../../../runtime/runtime.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
} from "../../../values/ports.ts";
import {
  FAMILIES,
  familyOf,
  FirewallError,
  type Guarded,
} from "../../firewall.ts";
import { addressesOf, checkPassesOn } from "./forwards.ts";
import { ipWord, portsKey } from "./sets.ts";

/** A port or range of a host behind. */
export interface BehindPorts {
  /** Canonical. */
  readonly at: string;
  readonly ports: PortRange;
}

type BehindService = Pick<Guarded, "name" | "ports" | "at">;

/** Ports of all hosts behind; their addresses must be resolved. */
export function portsBehind(services: readonly BehindService[]): BehindPorts[] {
  return services.flatMap(({ at = [], ports }) =>
    at.flatMap((address) => ports.map((ports) => ({ at: address, ports })))
  );
}

/** Rules that send what is routed to hosts behind on to a chain. */
export function behindRules(
  behind: readonly BehindPorts[],
  chain: string,
): string[] {
  return FAMILIES.flatMap((family) => {
    const keys = behind.filter(({ at }) => familyOf(at) === family)
      .map(({ at, ports }) => `${at} . ${portsKey(ports)}`);
    if (keys.length === 0) return [];
    const all = [...new Set(keys)].join(", ");
    const ip = ipWord(family);
    return [`${ip} daddr . meta l4proto . th dport { ${all} } jump ${chain}`];
  });
}

/**
 * Services with the addresses of the hosts behind in place of their names.
 * Throws FirewallError where one has no address, is this machine itself, is
 * named twice, or where this machine routes nothing.
 */
export async function resolveBehind<S extends BehindService>(
  runtime: Runtime,
  services: readonly S[],
): Promise<S[]> {
  const found: S[] = [];
  const seen: (BehindPorts & { readonly name: string })[] = [];
  for (const service of services) {
    if (!service.at) {
      found.push(service);
      continue;
    }
    const { name, ports } = service;
    const at: string[] = [];
    for (const host of service.at) {
      const words = `services.${name}.at: "${host}" does not resolve`;
      for (const address of await addressesOf(runtime, host, words)) {
        checkBehind(runtime, name, address);
        if (!at.includes(address)) at.push(address);
      }
    }
    for (const one of portsBehind([{ name, ports, at }])) {
      const other = seen.find((other) =>
        other.at === one.at && overlapPorts(other.ports, one.ports)
      );
      if (other) {
        throw new FirewallError(
          `services.${name}.at: ${formatPortRange(one.ports)} of ` +
            `${one.at} is in service "${other.name}", too`,
          "a port of a host belongs to one service",
        );
      }
      seen.push({ ...one, name });
    }
    found.push({ ...service, at });
  }
  return found;
}

function checkBehind(runtime: Runtime, name: string, address: string): void {
  if (runtime.ownAddresses().includes(address)) {
    throw new FirewallError(
      `services.${name}.at: ${address} is this machine itself`,
      "take at out of the service",
    );
  }
  checkPassesOn(
    runtime,
    familyOf(address),
    `services.${name}.at: this machine routes nothing to ${address}`,
  );
}
