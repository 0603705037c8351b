/**
 * The part of the kernel's ruleset that is ours: found, replaced, taken away,
 * and compared with the ruleset that was last put there.
 * @module
 */

import { caught } from "../../values/errors.ts";
import { FirewallError } from "../firewall.ts";
import { type Element, parseElements } from "./grants/elements.ts";
import { type NftJump, watchJump } from "./jump.ts";
import type { Nft } from "./library.ts";
import {
  clearText,
  findTable,
  hostObjects,
  isOurs,
  type NftListing,
  ownTable,
  readTable,
  REMOVAL,
  textOf,
  unneededText,
} from "./listing.ts";
import { INGRESS_PROBE, staleIngress } from "./rules/prefilter.ts";
import { rulesetText } from "./rules/ruleset.ts";
import { type Plan, planOf, type Setting, UNFILTERED } from "./rules/plan.ts";
import {
  formatHostChain,
  type HostChain,
  hostTable,
  type SetKind,
  setName,
  TABLE,
  type TablePlace,
} from "./rules/sets.ts";
import { type NftSequences, nftSequences } from "./sequences/rules.ts";

/**
 * The installed ruleset, by way of nft. It changes the rules; the scripts it is
 * given change the grants. Its methods throw FirewallError.
 */
export class InstalledRules {
  readonly #nft: Nft;
  /** The way from the host's rules to ours. */
  readonly jump: NftJump;
  /** Sequences that the rules judge from the next apply() on. */
  readonly sequences: NftSequences;
  /** True if we made the table of the host's chain. */
  #madeTable = false;
  #plan: Plan;
  /** True if all was applied at least once. */
  #isSetUp = false;
  /** The listing after the last change of rules; null when all must be applied again. */
  #listing: string | null = null;

  constructor(nft: Nft, place: Setting) {
    const { host } = place;
    this.#nft = nft;
    this.#plan = planOf(place, []);
    this.jump = watchJump(nft, host);
    this.sequences = nftSequences(nft, host === null);
  }

  /** Plan that the ruleset was made from. */
  get plan(): Plan {
    return this.#plan;
  }

  /** Throws FirewallError before the first time that all was applied. */
  checkSetUp(): void {
    if (!this.#isSetUp) throw new FirewallError("nft: not set up yet");
  }

  /** Puts in place all that a plan says, and what `script` adds to it. */
  async apply(plan: Plan, found: NftListing, script: string): Promise<void> {
    await this.#replace(plan, found, script);
    this.#plan = plan;
    this.#isSetUp = true;
  }

  /** Takes what is there now for what is to be there. */
  async adopt(): Promise<void> {
    this.#listing = await this.#list();
  }

  /** Changes the rules, and leaves all grants as they are. */
  async change(plan: Plan): Promise<void> {
    const before = this.#listing;
    const found = await this.look();
    // Each minute brings new tags: nobody's knocks are to be forgotten by that.
    const isIntact = before !== null && textOf(found) === before;
    await this.#replace(plan, found, "", isIntact);
    // What was not in place is not now: its grants are to be applied again.
    this.#listing = before === null ? null : await this.#list();
    this.#plan = plan;
  }

  /**
   * Sets up again what somebody flushed or changed under us, with the change
   * in hand. Grants of others may be lost by that flush, so it is not intact
   * from here on, until all is applied again.
   */
  async mend(script: string): Promise<void> {
    const found = await this.look();
    this.#listing = null;
    await this.#replace(this.#plan, found, script);
  }

  /** True if all is as it was installed. */
  async isIntact(): Promise<boolean> {
    if (this.#listing === null) return false;
    return await this.#list() === this.#listing;
  }

  /** Throws FirewallError in mode accept where the host's rules do not come to ours. */
  async checkJump(nowMs: number): Promise<void> {
    const { jump } = this;
    if (!this.#isSetUp || await jump.leadsStill(nowMs)) return;
    // Whoever loaded the host's rules again may have left our chain empty.
    if (await this.#list() !== this.#listing) {
      await this.change(this.#plan);
      this.#listing = null;
    }
    const problem = await jump.problem(nowMs);
    if (problem) throw new FirewallError(problem.text, problem.hint);
  }

  /** Runs a script, all of it or nothing. */
  async run(script: string): Promise<void> {
    await this.#nft.run(script);
  }

  /** Lists all that is ours; throws FirewallError when another's has our names. */
  async look(): Promise<NftListing> {
    // "list table" fetches the elements of the sets even if it does not show
    // them, a second for a hundred thousand; "list ruleset" does not.
    const listing = await this.#ruleset("inet");
    const own = ownTable(listing);
    const { host } = this.#plan;
    if (!host) return { own, host: [], hasHostTable: false };
    const { family } = host;
    const theirs = family === "inet" ? listing : await this.#ruleset(family);
    return {
      own,
      host: hostObjects(theirs, host),
      hasHostTable: findTable(theirs, hostTable(host)) !== null,
    };
  }

  /** All that is ours as one text, to be compared; null when nothing is. */
  async #list(): Promise<string | null> {
    return textOf(await this.look());
  }

  /**
   * Makes the ruleset what a plan says, and runs `more` behind it, in one step.
   * With `keepsSequences` those that are there stay, and who is within one, too.
   */
  async #replace(
    plan: Plan,
    found: NftListing,
    more: string,
    keepsSequences = false,
  ): Promise<void> {
    const rules = staleIngress(found.own ?? "", plan.ingress) +
      rulesetText(plan);
    const sequences = await this.sequences.text();
    const [old, fresh] = keepsSequences
      ? ["", ""]
      : [this.sequences.clear(found.own), sequences];
    this.jump.forget();
    try {
      await this.run(old + rules + unneededText(plan, found) + fresh + more);
    } catch (error) {
      if (found.own === null && found.host.length === 0) throw error;
      // A set or a chain is not as it was made: it cannot be mended.
      const whole = rulesetText(plan) + sequences + more;
      await this.run(clearText(plan.host, found) + whole);
    }
    if (plan.host && !found.hasHostTable) this.#madeTable = true;
  }

  /** The elements of a place's sets of a kind that are there now. */
  async elements(
    place: TablePlace,
    kind: SetKind,
    found: NftListing,
  ): Promise<Element[]> {
    const there = place.table === TABLE
      ? readTable(found.own ?? "")
      : found.host;
    let listings = "";
    for (const family of place.families) {
      const name = setName(kind, family, place.prefix);
      if (!there.some((listed) => listed.name === name)) continue;
      const set = `${place.table} ${name}`;
      listings += await this.#nft.run(`list set ${set}\n`, "elements");
    }
    return parseElements(listings);
  }

  /** Our own table with what its counters counted. */
  async counts(): Promise<string> {
    const listing = await this.#nft.run("list ruleset inet\n", "counts");
    return findTable(listing, TABLE) ?? "";
  }

  /** True if chains at the interfaces themselves can be made here. */
  async hasIngress(): Promise<boolean> {
    return await this.run(INGRESS_PROBE).then(() => true, () => false);
  }

  /** Takes away all that is ours. */
  async remove(): Promise<void> {
    await this.#removeAll();
    this.#isSetUp = false;
    this.#plan = { ...this.#plan, ...UNFILTERED };
    this.#listing = null;
  }

  async #removeAll(): Promise<void> {
    this.jump.forget();
    const own = findTable(await this.#ruleset("inet"), TABLE);
    if (own !== null && isOurs(own)) await this.run(REMOVAL);
    const { host } = this.#plan;
    if (!host) return;
    const found = await this.look();
    if (found.host.length === 0) return;
    await this.run(clearText(host, { ...found, own: null }));
    const removeChain = async () => {
      await this.run(`delete chain ${formatHostChain(host)}\n`);
      if (!this.#madeTable) return;
      const name = hostTable(host);
      const table = findTable(await this.#ruleset(host.family), name);
      if (table === `table ${name} {\n}\n`) {
        await this.run(`delete table ${name}\n`);
      }
    };
    // Where the host's chain jumps to it, it stays, empty.
    await caught(FirewallError, removeChain, () => {});
  }

  close(): void {
    this.#nft.close();
  }

  #ruleset(family: HostChain["family"]): Promise<string> {
    return this.#nft.run(`list ruleset ${family}\n`);
  }
}
