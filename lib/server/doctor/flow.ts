/**
 * What a packet filter does with a new packet from anywhere outside, as far
 * as its rules tell: the rules of nftables and of iptables in one model.
 * @module
 */

import type { Protocol } from "../../values/ports.ts";

/** A new packet to this machine, from an address that is not known. */
export interface Probe {
  readonly family: 4 | 6;
  readonly protocol: Protocol;
  readonly port: number;
}

/** Whether a rule is for a packet; maybe: for some sources, interfaces or rates. */
export type Match = "yes" | "no" | "maybe";

export type Action =
  | { readonly do: "accept" | "drop" | "return" | "pass" | "unknown" }
  | { readonly do: "jump" | "goto"; readonly chain: string }
  /** To another machine, or a container: past the input chains. */
  | { readonly do: "dnat"; readonly to: string };

export interface Rule {
  readonly match: (probe: Probe) => Match;
  readonly action: Action;
}

export interface Chain {
  /** Such as "inet filter". */
  readonly table: string;
  readonly name: string;
  readonly families: readonly (4 | 6)[];
  /** Where the kernel calls it; null: other chains do. */
  readonly hook: { readonly kind: string; readonly at: string } | null;
  readonly policy: "accept" | "drop";
  readonly rules: readonly Rule[];
}

/** All that may become of a packet; `dnat` with where to. */
export type Fate = "accept" | "drop" | "unknown" | `dnat ${string}`;

/** Deeper than any ruleset that a kernel takes. */
const MAX_DEPTH = 32;

/** All that a chain which the kernel calls may do with a packet. */
export function fatesIn(
  base: Chain,
  chains: readonly Chain[],
  probe: Probe,
): ReadonlySet<Fate> {
  if (!base.families.includes(probe.family)) return new Set(["accept"]);
  const fates = new Set<Fate>();
  if (walk(base, chains, probe, fates, 0)) fates.add(base.policy);
  return fates;
}

/** The chains that the kernel calls for a packet at one place. */
export function hooked(
  chains: readonly Chain[],
  kind: string,
  ...places: readonly string[]
): Chain[] {
  return chains.filter(({ hook }) =>
    hook?.kind === kind && places.includes(hook.at)
  );
}

/** Of two answers that must both be yes. */
export function both(a: Match, b: Match): Match {
  if (a === "no" || b === "no") return "no";
  return a === "yes" && b === "yes" ? "yes" : "maybe";
}

/** Collects what may happen; whether a packet may come out at the end. */
function walk(
  chain: Chain,
  chains: readonly Chain[],
  probe: Probe,
  fates: Set<Fate>,
  depth: number,
): boolean {
  let mayReturn = false;
  for (const { match, action } of chain.rules) {
    const matches = match(probe);
    if (matches === "no" || action.do === "pass") continue;
    const comesBack = follow(chain, action, chains, probe, fates, depth);
    const over = action.do !== "jump";
    if (over && comesBack) mayReturn = true;
    if (matches === "yes" && (over || !comesBack)) return mayReturn;
  }
  return true;
}

/** Whether a packet may come back from what a rule does. */
function follow(
  { table }: Chain,
  action: Action,
  chains: readonly Chain[],
  probe: Probe,
  fates: Set<Fate>,
  depth: number,
): boolean {
  switch (action.do) {
    case "accept":
    case "drop":
    case "unknown":
      fates.add(action.do);
      return false;
    case "dnat":
      fates.add(`dnat ${action.to}`);
      return false;
    case "return":
    case "pass":
      return true;
    case "jump":
    case "goto": {
      const target = chains.find((other) =>
        other.table === table && other.name === action.chain
      );
      if (target && depth < MAX_DEPTH) {
        return walk(target, chains, probe, fates, depth + 1);
      }
      fates.add("unknown");
      return true;
    }
  }
}
