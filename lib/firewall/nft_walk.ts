/** The way of a packet through the host's chains. Pure. */

import { chainNamed, type ListedChain } from "./nft_json.ts";
import { isForOthers, isUnconditional, verdictsOf } from "./nft_verdicts.ts";

/** Deeper than any ruleset that a kernel takes. */
const MAX_DEPTH = 32;

/** How far a packet comes. */
export interface Walked {
  /** The chains up to the jump; null when it is not come to. */
  readonly path: ListedChain[] | null;
  /** What a packet that meets no condition comes to; null = the end of the chain. */
  readonly ends: "accept" | "drop" | null;
}

/** Looks for the way to the chain `wanted`, and for what ends it before. */
export function walk(
  at: ListedChain,
  chains: readonly ListedChain[],
  wanted: string | null,
  above: readonly ListedChain[] = [],
): Walked {
  const path = [...above, at];
  if (path.length > MAX_DEPTH) return { path: null, ends: null };
  for (const rule of at.rules) {
    const always = isUnconditional(rule);
    for (const { verdict, target } of verdictsOf(rule)) {
      if (target !== null) {
        if (target === wanted) return { path, ends: null };
        const next = chainNamed(chains, at, target);
        if (!next) continue;
        const walked = walk(next, chains, wanted, path);
        if (walked.path) return walked;
        if (always && walked.ends) return walked;
        // What is gone to does not come back.
        if (always && verdict === "goto") return { path: null, ends: null };
      } else if (always) {
        if (verdict === "return") return { path: null, ends: null };
        return { path: null, ends: verdict === "accept" ? "accept" : "drop" };
      }
    }
  }
  return { path: null, ends: null };
}

/** Whether some rule, wherever it stands, leads to a chain. */
export function mentions(
  at: ListedChain,
  chains: readonly ListedChain[],
  wanted: string,
  depth = 0,
): boolean {
  if (depth > MAX_DEPTH) return false;
  return at.rules.some((rule) =>
    verdictsOf(rule).some(({ target }) => {
      if (target === wanted) return true;
      const next = target === null ? null : chainNamed(chains, at, target);
      return next !== null && mentions(next, chains, wanted, depth + 1);
    })
  );
}

/** Whether some rule may accept a new connection from outside. */
export function acceptsNew(
  at: ListedChain,
  chains: readonly ListedChain[],
  depth = 0,
): boolean {
  if (depth > MAX_DEPTH) return true;
  return at.rules.some((rule) =>
    !isForOthers(rule) &&
    verdictsOf(rule).some(({ verdict, target }) => {
      if (target === null) return verdict === "accept";
      const next = chainNamed(chains, at, target);
      return next === null || acceptsNew(next, chains, depth + 1);
    })
  );
}
