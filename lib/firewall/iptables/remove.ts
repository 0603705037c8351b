/** Removal of all chains of ours from iptables and ip6tables, whatever the configuration is. */

import { FAMILIES, lines, MissingError } from "../firewall.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { isCut, OUR_JUMP, ourChains } from "./listing.ts";
import { Iptables, type Variant } from "./program.ts";

const VARIANTS: readonly Variant[] = ["", "-nft", "-legacy"];

/** One chain of ours, and the script that takes it away. */
interface ChainRemoval {
  readonly table: string;
  readonly chain: string;
  /** True if rules of others jump to it: then it stays, empty. */
  readonly stays: boolean;
  /** For iptables-restore. */
  readonly script: string;
}

/** Finds the chains of ours in what `iptables-save` prints. Pure. */
export function findRemovals(saved: string): readonly ChainRemoval[] {
  const tables = saved.matchAll(/^\*(\S+)\n([^]*?)^COMMIT$/gm);
  return [...tables].flatMap(([, table, body]) => {
    const rules = body!.split("\n");
    const cuts = rules.filter((rule) => isCut(rule.replace("-A ", "")));
    return ourChains(body!).map((chain, index) => {
      const jumps = rules.filter((rule) =>
        / -[jg] (\S+)/.exec(rule)?.[1] === chain
      );
      const ours = jumps.filter((rule) =>
        OUR_JUMP.test(rule.replace("-A ", ""))
      );
      const stays = ours.length < jumps.length;
      const script = lines(
        `*${table}`,
        ...[...ours, ...index === 0 ? cuts : []]
          .map((rule) => rule.replace("-A", "-D")),
        `-F ${chain}`,
        ...stays ? [] : [`-X ${chain}`],
        "COMMIT",
      );
      return { table: table!, chain, stays, script };
    });
  });
}

/** Takes away all chains of ours, and names them. Throws FirewallError. */
export async function removeFromIptables(runtime: Runtime): Promise<string[]> {
  const removed: string[] = [];
  let isInstalled = false;
  for (const variant of VARIANTS) {
    const programs = new Iptables(runtime, variant);
    for (const family of FAMILIES) {
      const saved = await programs.save(family);
      isInstalled ||= saved !== null;
      for (const { table, chain, stays, script } of findRemovals(saved ?? "")) {
        await programs.restore(family, script);
        const name = family === 4 ? "iptables" : "ip6tables";
        removed.push(
          `${name} ${table} chain ${chain}` +
            (stays ? ": emptied, as other rules jump to it" : ""),
        );
      }
    }
  }
  if (isInstalled) return removed;
  throw new MissingError("neither iptables nor ip6tables is installed");
}
