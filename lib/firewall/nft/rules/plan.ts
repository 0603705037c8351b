/** All that a ruleset is made from: ports, answers, forwards, and the sets that hold grants. Pure. */

import type { PortRange } from "../../../values/ports.ts";
import { type BehindPorts, portsBehind } from "./behind.ts";
import { WIDEST_NETWORK } from "../../../values/address.ts";
import {
  type Facing,
  FAMILIES,
  type Guarded,
  type Prefilter,
  type Refuse,
  type Sniffed,
} from "../../firewall.ts";
import type { ForwardRule } from "./forwards.ts";
import {
  type HostChain,
  hostPlace,
  networkKind,
  OWN_KINDS,
  ownPlace,
  type SetKind,
  type TablePlace,
} from "./sets.ts";

/** All that the ruleset depends on, but the grants. */
export interface Plan {
  /** The host's chain that holds the accept rules; null in mode guard. */
  readonly host: HostChain | null;
  /** The interfaces of mode guard; none = all but the loopback. */
  readonly interfaces: readonly string[];
  /** Answer of a closed port, and of the knocks' port to what is no knock. */
  readonly refuse: Refuse;
  /** The ports of all services. */
  readonly guarded: readonly PortRange[];
  /** Ports of hosts behind this machine. */
  readonly behind: readonly BehindPorts[];
  /** Those of services whose connections end with their grant. */
  readonly cut: readonly PortRange[];
  readonly forwards: readonly ForwardRule[];
  /** True if there are grants with a target of their own. */
  readonly hasTargets: boolean;
  /** Lengths of the networks that grants are for, in bits of their family; each once. */
  readonly networks: readonly number[];
  readonly prefilter: Prefilter | null;
  /** Where the prefilter is besides prerouting; null = nowhere. */
  readonly ingress: Facing | null;
  readonly sniffed: Sniffed | null;
}

/** Prefilter and sniffed ports of a plan without either. */
export const UNFILTERED = {
  prefilter: null,
  ingress: null,
  sniffed: null,
} as const;

/** Where a plan's rules go, and how they answer. */
export type Setting = Pick<Plan, "host" | "interfaces" | "refuse">;

/** The plan of some services, without forwards and grants; hosts behind must be resolved. */
export function planOf(place: Setting, services: readonly Guarded[]): Plan {
  return {
    ...place,
    ...portsOf(services),
    forwards: [],
    hasTargets: false,
    networks: [],
    ...UNFILTERED,
  };
}

/** The part of a plan that are the ports of services. */
export function portsOf(
  services: readonly Guarded[],
): Pick<Plan, "guarded" | "behind" | "cut"> {
  return {
    guarded: services.filter(({ at }) => !at).flatMap(({ ports }) => ports),
    behind: portsBehind(services),
    cut: services.filter(({ cut }) => cut).flatMap(({ ports }) => ports),
  };
}

/** Lengths of all networks that grants may be for. */
export const NETWORKS: readonly number[] = FAMILIES.flatMap((family) => {
  const widest = WIDEST_NETWORK[family];
  const most = family === 4 ? 32 : 128;
  return Array.from({ length: most - widest }, (_, index) => widest + index);
});

/** The sets of a plan: those of our own table, and those of the host's. */
export function placesOf(
  plan: Plan,
): { own: TablePlace; host: TablePlace | null } {
  const { host, forwards, hasTargets, networks } = plan;
  const ownKinds = [...OWN_KINDS, ...networks.map(networkKind)];
  const behind: SetKind[] = plan.behind.length > 0
    ? ["at", ...networks.map((bits) => `at${networkKind(bits)}` as const)]
    : [];
  const targets: SetKind[] = hasTargets ? ["sent", "sentonce"] : [];
  const landed: SetKind[] = hasTargets ? ["landed"] : [];
  if (!host) {
    return { own: ownPlace([...ownKinds, ...behind, ...targets]), host: null };
  }
  // A rule asks sets of its own table only: what forwards ask is there twice.
  const asked = forwards.length > 0 ? ownKinds : [];
  return {
    own: ownPlace([...asked, ...targets]),
    host: hostPlace(host, [...ownKinds, ...landed]),
  };
}

/** All of {@linkcode placesOf}, in order. */
export function allPlaces(plan: Plan): TablePlace[] {
  const { own, host } = placesOf(plan);
  return host ? [own, host] : [own];
}

/** The sets that mode accept ever makes in the host's table. */
export function knownHostPlace(host: HostChain): TablePlace {
  const networks = NETWORKS.map(networkKind);
  return hostPlace(host, [...OWN_KINDS, "landed", ...networks]);
}
