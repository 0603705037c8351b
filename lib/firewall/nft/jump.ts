/** Watches that the host's own rules jump to those of mode accept, and still do. */

import { FirewallError } from "../firewall.ts";
import { findDrops, findJump, type Problem } from "../host/jump.ts";
import { parseNftJson } from "../host/nft/json.ts";
import type { Nft } from "./library.ts";
import { findTable, readTable } from "./listing.ts";
import { type HostChain, hostTable } from "./rules/sets.ts";

/** Time for which a look at the rules is trusted: a listing costs a millisecond. */
const TRUST_MS = 1000;

/** Chains of the host's table, as they were. */
interface Watched {
  readonly names: readonly string[];
  readonly text: string;
  /** Unix milliseconds. */
  readonly atMs: number;
}

export type NftJump = ReturnType<typeof watchJump>;

/** Watches the way to the host's chain; null = mode guard, which needs none. */
export function watchJump(nft: Nft, host: HostChain | null) {
  /** The chains that lead to ours, and ours, as they were when they were looked at. */
  let watched: Watched | null = null;
  /** Chains of the host's table. "list chain" fetches the elements of its sets. */
  const textOf = async (host: HostChain, names: readonly string[]) => {
    const listing = await nft.run(`list ruleset ${host.family}\n`);
    const table = findTable(listing, hostTable(host));
    return readTable(table ?? "").filter(({ kind, name }) =>
      kind === "chain" && names.includes(name)
    ).map(({ text }) => text).join("\n");
  };
  return {
    /** True if the chains that jump to ours, and ours, are as they were when all was well. */
    async leadsStill(nowMs: number): Promise<boolean> {
      if (!host) return true;
      if (!watched) return false;
      const { names, text, atMs } = watched;
      if (Math.abs(nowMs - atMs) < TRUST_MS) return true;
      if (await textOf(host, names) !== text) return false;
      watched = { names, text, atMs: nowMs };
      return true;
    },

    /** Why nothing that our rules accept is open; null when it is. */
    async problem(nowMs: number): Promise<Problem | null> {
      if (!host) return null;
      const rules = parseNftJson(await nft.run("list ruleset\n", "json"));
      if (!rules) {
        throw new FirewallError(
          "nft: its listing is no JSON",
          "an nft that is built with JSON support",
        );
      }
      const jump = findJump(rules, host);
      if (!jump.ok) return jump.problem;
      const [drop] = findDrops(rules, host);
      if (drop) return drop;
      const names = [...jump.by, host.chain];
      watched = { names, text: await textOf(host, names), atMs: nowMs };
      return null;
    },

    /** Forgets what was looked at: the rules are about to change. */
    forget(): void {
      watched = null;
    },
  };
}
