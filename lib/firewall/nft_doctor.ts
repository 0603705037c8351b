/**
 * Whether the rules of mode accept are ever asked: whether the host's own
 * input chain jumps to ours, and before it drops. Pure.
 * @module
 */

import { formatHostChain, type HostChain } from "./nft_chain.ts";
import { inputChains, type ListedChain } from "./nft_json.ts";
import { acceptsNew, mentions, walk } from "./nft_walk.ts";

/** What is wrong, and the cure. */
export interface Problem {
  readonly text: string;
  readonly hint: string;
}

/** How the host comes to our chain: the chains that it passes, or why not. */
export type Jump =
  | { readonly ok: true; readonly path: readonly ListedChain[] }
  | { readonly ok: false; readonly problem: Problem };

/**
 * How the host's rules come to our chain. Not at all, or only behind a rule
 * that drops everything: then nothing that is opened is open.
 */
export function findJump(
  chains: readonly ListedChain[],
  host: HostChain,
): Jump {
  const ours = formatHostChain(host);
  const { family, table, chain } = host;
  const bases = inputChains(chains).filter((base) =>
    base.family === family && base.table === table
  );
  let late: ListedChain | null = null;
  for (const base of bases) {
    const walked = walk(base, chains, chain);
    if (walked.path) return { ok: true, path: walked.path };
    if (mentions(base, chains, chain)) late ??= base;
  }
  if (late) {
    return {
      ok: false,
      problem: {
        text:
          `chain ${late.name} of table ${family} ${table} drops everything ` +
          `before it jumps to ${ours}`,
        hint: `nft insert rule ${family} ${table} ${late.name} jump ${chain}`,
      },
    };
  }
  const [base] = bases;
  return {
    ok: false,
    problem: {
      text: `the host's chain does not jump to ${ours}`,
      hint: base
        ? `before its last drop: nft add rule ${family} ${table} ${base.name} jump ${chain}`
        : `table ${family} ${table} has no input chain: firewall.chain must be ` +
          `in the host's own table`,
    },
  };
}

/**
 * Chains of other tables that drop all new connections, whatever ours accept:
 * an accept in one table does not undo a drop in another.
 */
export function findDrops(
  chains: readonly ListedChain[],
  host: HostChain,
): Problem[] {
  const { family, table, chain } = host;
  const families = family === "inet" ? ["inet", "ip", "ip6"] : [family, "inet"];
  return inputChains(chains).filter((base) =>
    families.includes(base.family) &&
    !(base.family === family && base.table === table &&
      mentions(base, chains, chain))
  ).filter((base) => {
    const { ends } = walk(base, chains, null);
    const drops = ends === "drop" || (ends === null && base.policy === "drop");
    return drops && !acceptsNew(base, chains);
  }).map((base) => ({
    text:
      `chain ${base.name} of table ${base.family} ${base.table} drops every ` +
      `new connection, whatever ${formatHostChain(host)} accepts`,
    hint: `firewall.chain may be a chain of that table: "${base.family} ` +
      `${base.table} ${chain}"`,
  }));
}
