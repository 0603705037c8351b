/** What the ruleset of the nft backend is made from, and which sets it has. Pure. */

import type { PortRange } from "../../../values/ports.ts";
import type { Guarded, KernelGate } from "../../firewall.ts";
import type { HostChain } from "./nft_chain.ts";
import type { Forward } from "./forwards.ts";
import {
  hostPlace,
  OWN_KINDS,
  ownPlace,
  type Place,
  type SetKind,
} from "./sets.ts";

/** All that the ruleset depends on, but the grants. */
export interface Plan {
  /** The host's chain that holds the accept rules; null in mode guard. */
  readonly host: HostChain | null;
  /** The ports of all services. */
  readonly guarded: readonly PortRange[];
  readonly forwards: readonly Forward[];
  /** Whether there are grants with a target of their own. */
  readonly hasTargets: boolean;
  readonly gate: KernelGate | null;
}

/** A plan of services alone, in mode guard. */
export function guardPlan(services: readonly Guarded[]): Plan {
  const guarded = services.flatMap(({ ports }) => ports);
  return { host: null, guarded, forwards: [], hasTargets: false, gate: null };
}

/** The sets of a plan: those of our own table, and those of the host's. */
export function placesOf(plan: Plan): { own: Place; host: Place | null } {
  const { host, forwards, hasTargets } = plan;
  const targets: SetKind[] = hasTargets ? ["sent", "sentonce"] : [];
  const landed: SetKind[] = hasTargets ? ["landed"] : [];
  if (!host) {
    return { own: ownPlace([...OWN_KINDS, ...targets, ...landed]), host: null };
  }
  // A rule asks sets of its own table only: what forwards ask is there twice.
  const asked = forwards.length > 0 ? OWN_KINDS : [];
  return {
    own: ownPlace([...asked, ...targets]),
    host: hostPlace(host, [...OWN_KINDS, ...landed]),
  };
}

/** All of {@linkcode placesOf}, in order. */
export function allPlaces(plan: Plan): Place[] {
  const { own, host } = placesOf(plan);
  return host ? [own, host] : [own];
}

/** The sets that mode accept ever makes in the host's table. */
export function knownHostPlace(host: HostChain): Place {
  return hostPlace(host, [...OWN_KINDS, "landed"]);
}
