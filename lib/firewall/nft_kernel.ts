/**
 * What of ours is in the kernel: found, replaced, taken away, and whether the
 * host's own rules lead to it.
 * @module
 */

import { FirewallError, type SequenceRules } from "./firewall.ts";
import type { Nft } from "./libnftables.ts";
import { formatHostChain, type HostChain } from "./nft_chain.ts";
import { findDrops, findJump, type Problem, readChains } from "./nft_doctor.ts";
import { type Element, parseElements } from "./nft_elements.ts";
import {
  findTable,
  hostObjects,
  isOurs,
  type Listed,
  ownTable,
  readTable,
  unwantedText,
} from "./nft_listing.ts";
import {
  KNOWN_NAMES,
  knownHostPlace,
  ownNames,
  placesOf,
  type Plan,
  removeText,
  renewText,
  rulesetText,
} from "./nft_ruleset.ts";
import {
  eachSet,
  lines,
  type Place,
  type SetKind,
  setName,
  TABLE,
} from "./nft_sets.ts";

/**
 * Made and deleted in one step: it fails where the kernel cannot tell at which
 * ports something listens (nft_socket).
 */
const SOCKET_PROBE = lines(
  "table inet knock_probe {",
  "  chain probe {",
  "    socket wildcard { 0, 1 } return",
  "  }",
  "}",
  "delete table inet knock_probe",
);

/** What was found of ours. */
export interface Found {
  /** The listing of our own table; null when there is none. */
  readonly own: string | null;
  /** What is ours in the table of the host's chain. */
  readonly host: readonly Listed[];
  /** Whether that table is there. */
  readonly hasHostTable: boolean;
}

/** Chains of the host's table, as they were. */
interface Watched {
  readonly names: readonly string[];
  readonly text: string;
  /** Unix milliseconds. */
  readonly atMs: number;
}

/** How long what was looked at is trusted: a listing costs a millisecond. */
const TRUST_MS = 1000;

/** What was found as one text; null when there is nothing of ours. */
export function textOf({ own, host }: Found): string | null {
  if (own === null && host.length === 0) return null;
  return (own ?? "") + host.map(({ text }) => text + "\n").join("");
}

export class NftKernel {
  readonly #nft: Nft;
  readonly #host: HostChain | null;
  /** The chains that lead to ours, and ours, as they were when they were looked at. */
  #watched: Watched | null = null;
  #sequences: SequenceRules | null = null;
  /** Null = not tried yet. */
  #seesSockets: boolean | null = null;
  /** Whether the table of the host's chain is there by our doing. */
  #madeTable = false;

  constructor(nft: Nft, host: HostChain | null) {
    this.#nft = nft;
    this.#host = host;
  }

  /** Runs a script, all of it or nothing. */
  async run(script: string): Promise<void> {
    await this.#nft.run(script);
  }

  /** What is there of ours; throws FirewallError when another's has our names. */
  async look(): Promise<Found> {
    // "list table" fetches the elements of the sets even if it does not show
    // them, a second for a hundred thousand; "list ruleset" does not.
    const listing = await this.#nft.run("list ruleset inet\n");
    const own = ownTable(listing);
    const host = this.#host;
    if (!host) return { own, host: [], hasHostTable: false };
    const { family, table } = host;
    const theirs = family === "inet"
      ? listing
      : await this.#nft.run(`list ruleset ${family}\n`);
    return {
      own,
      host: hostObjects(theirs, host, knownHostPlace(host)),
      hasHostTable: findTable(theirs, `${family} ${table}`) !== null,
    };
  }

  /** All that is ours as one text, to be compared; null when nothing is. */
  async listing(): Promise<string | null> {
    return textOf(await this.look());
  }

  /** Has sequences judged from the next replace() on. */
  setSequences(rules: SequenceRules): void {
    this.#sequences = rules;
  }

  /**
   * Makes the ruleset what a plan says, and runs `more` behind it, in one step.
   * With `keepsSequences` those that are there stay, and who is within one, too.
   */
  async replace(
    plan: Plan,
    found: Found,
    more: string,
    keepsSequences = false,
  ): Promise<void> {
    const rules = rulesetText(plan);
    const sequences = await this.#sequencesText();
    const clear = found.own === null
      ? ""
      : this.#sequences?.clear(found.own) ?? "";
    const [old, fresh] = keepsSequences ? ["", ""] : [clear, sequences];
    this.#watched = null;
    try {
      await this.run(
        old + rules + unneeded(plan, found) + fresh + more,
      );
    } catch (error) {
      if (found.own === null && found.host.length === 0) throw error;
      // A set or a chain is not as it was made: it cannot be mended.
      await this.run(renew(this.#host, found) + rules + sequences + more);
    }
    if (this.#host && !found.hasHostTable) this.#madeTable = true;
  }

  /** The elements of a kind of sets that are there now. */
  async elements(
    places: readonly Place[],
    kind: SetKind,
    found: Found,
  ): Promise<Element[]> {
    const there = new Set([
      ...readTable(found.own ?? "").map(({ name }) => `${TABLE} ${name}`),
      ...found.host.map(({ name }) => `${hostTable(this.#host)} ${name}`),
    ]);
    let listings = "";
    for (const place of places) {
      for (const family of place.families) {
        const set = `${place.table} ${setName(kind, family, place.prefix)}`;
        if (!there.has(set)) continue;
        listings += await this.#nft.run(`list set ${set}\n`, "elements");
      }
    }
    return parseElements(listings);
  }

  /** Our own table with what its counters counted. */
  async counts(): Promise<string> {
    const listing = await this.#nft.run("list ruleset inet\n", "counts");
    return findTable(listing, TABLE) ?? "";
  }

  /** Whether the chains that lead to ours, and ours, are as they were when all was well. */
  async leadsStill(nowMs: number): Promise<boolean> {
    if (!this.#host) return true;
    const watched = this.#watched;
    if (!watched) return false;
    if (Math.abs(nowMs - watched.atMs) < TRUST_MS) return true;
    if (await this.#chains(watched.names) !== watched.text) return false;
    this.#watched = { ...watched, atMs: nowMs };
    return true;
  }

  /** Why nothing that our rules accept is open; null when it is. */
  async jumpProblem(nowMs: number): Promise<Problem | null> {
    const host = this.#host;
    if (!host) return null;
    const chains = readChains(await this.#nft.run("list ruleset\n", "json"));
    const jump = findJump(chains, host);
    if (!jump.ok) return jump.problem;
    const [drop] = findDrops(chains, host);
    if (drop) return drop;
    const names = [...jump.path.map(({ name }) => name), host.chain];
    this.#watched = { names, text: await this.#chains(names), atMs: nowMs };
    return null;
  }

  /** Takes away all that is ours. */
  async remove(): Promise<void> {
    this.#watched = null;
    const listing = await this.#nft.run("list ruleset inet\n");
    const own = findTable(listing, TABLE);
    if (own !== null && isOurs(own)) await this.run(removeText());
    const host = this.#host;
    if (!host) return;
    const found = await this.look();
    if (found.host.length === 0) return;
    await this.run(renew(host, { ...found, own: null }));
    try {
      await this.run(`delete chain ${formatHostChain(host)}\n`);
      if (this.#madeTable) await this.#removeEmptyTable(host);
    } catch (error) {
      // The host's chain jumps to it: it stays, empty.
      if (!(error instanceof FirewallError)) throw error;
    }
  }

  close(): void {
    this.#nft.close();
  }

  /** Chains of the host's table. "list chain" fetches the elements of its sets. */
  async #chains(names: readonly string[]): Promise<string> {
    const { family } = this.#host!;
    const listing = await this.#nft.run(`list ruleset ${family}\n`);
    const table = findTable(listing, hostTable(this.#host));
    return readTable(table ?? "").filter(({ kind, name }) =>
      kind === "chain" && names.includes(name)
    ).map(({ text }) => text).join("\n");
  }

  async #sequencesText(): Promise<string> {
    const text = this.#sequences?.text(true) ?? "";
    if (text === "") return "";
    if (this.#host) {
      throw new FirewallError(
        "the kernel judges sequences in mode guard only",
        "watch: sniff, or firewall: { mode: guard }",
      );
    }
    this.#seesSockets ??= await this.run(SOCKET_PROBE)
      .then(() => true, () => false);
    return this.#seesSockets ? text : this.#sequences!.text(false);
  }

  async #removeEmptyTable({ family, table }: HostChain): Promise<void> {
    const listing = await this.#nft.run(`list ruleset ${family}\n`);
    const name = `${family} ${table}`;
    if (findTable(listing, name) !== `table ${name} {\n}\n`) return;
    await this.run(`delete table ${name}\n`);
  }
}

/** Deletes what was found of ours and is wanted no more. */
function unneeded(plan: Plan, { own, host }: Found): string {
  const names = ownNames(plan);
  const text = own === null
    ? ""
    : names.size === 0
    ? removeText()
    : unwantedText(own, KNOWN_NAMES, names);
  const place = placesOf(plan).host;
  if (!place) return text;
  const wanted = eachSet(
    place,
    (kind, family) => setName(kind, family, place.prefix),
  );
  return text + lines(
    ...host.filter(({ kind, name }) => kind === "set" && !wanted.includes(name))
      .map(({ name }) => `delete set ${place.table} ${name}`),
  );
}

/** Clears the way for sets and chains that are to be made anew. */
function renew(host: HostChain | null, found: Found): string {
  const own = found.own === null ? "" : renewText();
  if (!host) return own;
  const sets = found.host.filter(({ kind }) => kind === "set");
  const chain = found.host.some(({ kind }) => kind === "chain");
  return own + lines(
    ...(chain ? [`flush chain ${formatHostChain(host)}`] : []),
    ...sets.map(({ name }) => `delete set ${hostTable(host)} ${name}`),
  );
}

function hostTable(host: HostChain | null): string {
  return host ? `${host.family} ${host.table}` : "";
}
