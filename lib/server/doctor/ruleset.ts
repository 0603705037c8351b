/** The packet filter of this machine, read once for all checks. */

import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { parseIptablesSave } from "./iptables_save.ts";
import { listing } from "./listing.ts";
import { parseNftJson, type Ruleset } from "./nft_json.ts";

const NFT = ["nft", "-j", "-t", "list", "ruleset"];

/** How long a listing may take. */
const TIMEOUT_MS = 10_000;

/** The tables of the kernel's own iptables, where that is in use beside nftables. */
const LEGACY = [
  ["/proc/net/ip_tables_names", "iptables-legacy-save", 4],
  ["/proc/net/ip6_tables_names", "ip6tables-legacy-save", 6],
] as const;

/** The programs that print what only iptables can read, by the family of its tables. */
const SAVERS = [["ip ", "iptables-save", 4], [
  "ip6 ",
  "ip6tables-save",
  6,
]] as const;

/** The ruleset of the kernel; null where it cannot be listed. */
export async function readRuleset(runtime: Runtime): Promise<Ruleset | null> {
  const text = await listNft(runtime);
  const nft = text === null ? null : parseNftJson(text);
  const chains = [...nft?.chains ?? []];
  let seen = nft !== null;
  for (const [family, program, number] of SAVERS) {
    const opaque = nft?.opaque.filter((table) => table.startsWith(family));
    if (!opaque || opaque.length === 0) continue;
    const saved = await listing(runtime, [program], TIMEOUT_MS);
    if (saved === null) continue;
    const read = parseIptablesSave(saved, number);
    for (const table of opaque) {
      const better = read.filter((chain) => chain.table === table);
      if (better.length === 0) continue;
      const rest = chains.filter((chain) => chain.table !== table);
      chains.splice(0, chains.length, ...rest, ...better);
    }
  }
  for (const [names, program, family] of LEGACY) {
    if (!hasTables(runtime, names)) continue;
    const saved = await listing(runtime, [program], TIMEOUT_MS) ??
      (nft === null
        ? await listing(runtime, [program.replace("legacy-", "")], TIMEOUT_MS)
        : null);
    if (saved === null) continue;
    seen = true;
    // Apart from tables of the same name in nftables: a packet goes by both.
    const read = parseIptablesSave(saved, family);
    chains.push(
      ...read.map((chain) => ({ ...chain, table: `legacy ${chain.table}` })),
    );
  }
  if (!seen) return null;
  return { chains, tables: nft?.tables ?? [], opaque: nft?.opaque ?? [] };
}

/** The ruleset of nftables as JSON; null where it cannot be listed. */
export function listNft(runtime: Runtime): Promise<string | null> {
  return listing(runtime, NFT, TIMEOUT_MS);
}

function hasTables(runtime: Runtime, file: string): boolean {
  try {
    return runtime.files.readText(file).trim() !== "";
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}
