/** The ruleset as it was last put into the kernel, and whether it still stands. */

import { FirewallError } from "../firewall.ts";
import type { HostChain } from "./rules/nft_chain.ts";
import type { NftKernel } from "./kernel.ts";
import { type Found, textOf } from "./listing.ts";
import type { Plan } from "./rules/nft_plan.ts";

/** What stands. It changes the rules; grants are what the scripts it is given say. */
export class NftStanding {
  readonly #kernel: NftKernel;
  #plan: Plan;
  #isSetUp = false;
  /** The listing after the last change of rules; null when all must be applied again. */
  #listing: string | null = null;

  constructor(kernel: NftKernel, host: HostChain | null) {
    this.#kernel = kernel;
    this.#plan = {
      host,
      guarded: [],
      forwards: [],
      hasTargets: false,
      gate: null,
    };
  }

  /** What the ruleset was made from. */
  get plan(): Plan {
    return this.#plan;
  }

  /** Whether all was applied at least once. */
  get isSetUp(): boolean {
    return this.#isSetUp;
  }

  /** Throws FirewallError before the first time that all was applied. */
  checkSetUp(): void {
    if (!this.#isSetUp) throw new FirewallError("nft: not set up yet");
  }

  /** Puts in place all that a plan says, and what `script` adds to it. */
  async apply(plan: Plan, found: Found, script: string): Promise<void> {
    await this.#kernel.replace(plan, found, script);
    this.#plan = plan;
    this.#isSetUp = true;
  }

  /** Takes what is there now for what is to be there. */
  async adopt(): Promise<void> {
    this.#listing = await this.#kernel.listing();
  }

  /** Changes the rules, and leaves all grants as they are. */
  async change(plan: Plan): Promise<void> {
    const before = this.#listing;
    const found = await this.#kernel.look();
    // Each minute brings new tags: nobody's knocks are to be forgotten by that.
    const isIntact = before !== null && textOf(found) === before;
    await this.#kernel.replace(plan, found, "", isIntact);
    // What was not in place is not now: its grants are to be applied again.
    this.#listing = before === null ? null : await this.#kernel.listing();
    this.#plan = plan;
  }

  /**
   * Sets up again what somebody flushed or changed under us, with the change
   * in hand. Grants of others may be lost by that flush, so it is not intact
   * from here on, until all is applied again.
   */
  async mend(script: string): Promise<void> {
    const found = await this.#kernel.look();
    this.#listing = null;
    await this.#kernel.replace(this.#plan, found, script);
  }

  /** Whether all is as it was put in place. */
  async isIntact(): Promise<boolean> {
    if (this.#listing === null) return false;
    return await this.#kernel.listing() === this.#listing;
  }

  /** Throws FirewallError in mode accept where the host's rules do not come to ours. */
  async checkJump(nowMs: number): Promise<void> {
    const { jump } = this.#kernel;
    if (!this.#isSetUp || await jump.leadsStill(nowMs)) return;
    // Whoever loaded the host's rules again may have left our chain empty.
    if (await this.#kernel.listing() !== this.#listing) {
      await this.change(this.#plan);
      this.#listing = null;
    }
    const problem = await jump.problem(nowMs);
    if (problem) throw new FirewallError(problem.text, problem.hint);
  }

  /** Takes all of it away. */
  async remove(): Promise<void> {
    await this.#kernel.remove();
    this.#isSetUp = false;
    this.#plan = { ...this.#plan, gate: null };
    this.#listing = null;
  }
}
