/** The packet filters of this machine, as its programs list them: nft, and iptables in both of its kinds. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { Family } from "../firewall.ts";
import { runSystem } from "../iptables/program.ts";
import type { FilterChain, HostRules } from "./model.ts";
import { isOfChain, parseIptablesSave } from "./iptables_save.ts";
import { type NftRules, parseElements, parseNftJson } from "./nft/json.ts";
import type { Json } from "./nft/match.ts";
import { orNull } from "../../values/errors.ts";

/** Without counters and without the elements of sets: those of grants may be a hundred thousand. */
const NFT = ["nft", "-j", "-s", "-t"];

/** Longest time for a listing. */
const TIMEOUT_MS = 10_000;

/** Most sets of ports that are listed. */
const MAX_LISTS = 16;

/** Programs that print what only iptables can read of nftables' tables, the surest first. */
const SAVERS: readonly [Family, ...string[]][] = [
  [4, "iptables-nft-save", "iptables-save"],
  [6, "ip6tables-nft-save", "ip6tables-save"],
];

/** The tables of the kernel's own iptables, where that is in use beside nftables. */
const LEGACY: readonly [file: string, program: string, Family][] = [
  ["/proc/net/ip_tables_names", "iptables-legacy-save", 4],
  ["/proc/net/ip6_tables_names", "ip6tables-legacy-save", 6],
];

/** The packet filters of this machine, read once; null where they cannot be listed. */
export function readHost(runtime: Runtime): Promise<HostRules | null> {
  return new HostReader(runtime).read();
}

/** Reads them again and again; the model is built anew only when a listing has changed. */
export class HostReader {
  readonly #runtime: Runtime;
  #nft: { readonly text: string | null; readonly rules: NftRules | null } = //
    { text: null, rules: null };
  #listings = "";
  #rules: HostRules | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /**
   * The model of this moment: the same object while nothing has changed; null
   * where nothing can be listed. The rules of the chain `skip`, one for each
   * grant of the iptables backend, are left out.
   */
  async read(skip: string | null = null): Promise<HostRules | null> {
    const runtime = this.#runtime;
    if (runtime.platform !== "linux") return null;
    const nft = await listing(runtime, [...NFT, "list", "ruleset"], TIMEOUT_MS);
    // Tells which other programs must be asked.
    if (nft !== this.#nft.text) {
      const rules = nft === null ? null : parseNftJson(nft, new Map(), skip);
      this.#nft = { text: nft, rules };
    }
    const first = this.#nft.rules;
    const elements = new Map<string, readonly Json[]>();
    const texts = [nft ?? ""];
    for (const list of first?.lists.slice(0, MAX_LISTS) ?? []) {
      const argv = [...NFT.slice(0, -1), "list", ...list.split(" ")];
      const text = await listing(runtime, argv, TIMEOUT_MS) ?? "";
      const found = parseElements(text);
      if (found) elements.set(list, found);
      texts.push(text);
    }
    const saved: [Family, string][] = [];
    for (const [family, ...programs] of SAVERS) {
      const prefix = family === 4 ? "ip " : "ip6 ";
      if (!first?.opaque.some((table) => table.startsWith(prefix))) continue;
      const text = await firstOf(runtime, programs);
      if (text !== null) saved.push([family, text]);
    }
    const legacy: [Family, string][] = [];
    for (const [names, program, family] of LEGACY) {
      if (!orNull(() => runtime.files.readText(names))?.trim()) continue;
      const plain = nft === null ? [program.replace("legacy-", "")] : [];
      const text = await firstOf(runtime, [program, ...plain]);
      if (text !== null) legacy.push([family, text]);
    }
    const local = runtime.ownAddresses();
    const all = [
      ...texts,
      ...[...saved, ...legacy].map(([, text]) => steady(text, skip)),
      ...local,
    ].join("\n");
    if (all === this.#listings) return this.#rules;
    this.#listings = all;
    const rules = elements.size > 0
      ? parseNftJson(nft!, elements, skip)
      : first;
    const isSeen = first !== null || legacy.length > 0;
    this.#rules = isSeen ? build(rules, saved, legacy, local, skip) : null;
    return this.#rules;
  }
}

/** Standard output of a program; null where it fails or is not installed. */
export async function listing(
  runtime: Runtime,
  argv: readonly string[],
  timeoutMs: number,
): Promise<string | null> {
  const options = { env: { LC_ALL: "C" }, timeoutMs };
  const ran = await orNull(() => runSystem(runtime, argv, options));
  return ran?.code === 0 ? ran.stdout : null;
}

function build(
  nft: NftRules | null,
  saved: readonly [Family, string][],
  legacy: readonly [Family, string][],
  local: readonly string[],
  skip: string | null,
): HostRules {
  let chains: readonly FilterChain[] = nft?.chains ?? [];
  for (const [family, text] of saved) {
    const better = parseIptablesSave(text, family, skip)
      .filter(({ table }) => nft?.opaque.includes(table));
    const tables = new Set(better.map(({ table }) => table));
    chains = [...chains.filter(({ table }) => !tables.has(table)), ...better];
  }
  // Apart from tables of the same name in nftables: a packet goes by both.
  const more = legacy.flatMap(([family, text]) =>
    parseIptablesSave(text, family, skip).map((chain) => ({
      ...chain,
      table: `legacy ${chain.table}`,
    }))
  );
  return { chains: [...chains, ...more], tables: nft?.tables ?? [], local };
}

async function firstOf(
  runtime: Runtime,
  programs: readonly string[],
): Promise<string | null> {
  for (const program of programs) {
    const text = await listing(runtime, [program], TIMEOUT_MS);
    if (text !== null) return text;
  }
  return null;
}

/** A listing of iptables-save without what changes by itself: dates, counters and a skipped chain's rules. */
function steady(text: string, skip: string | null): string {
  return text.split("\n").filter((line) =>
    !line.startsWith("#") && !isOfChain(line, skip)
  ).join("\n").replace(/\[\d+:\d+\]/g, "");
}
