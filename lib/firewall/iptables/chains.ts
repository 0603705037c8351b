/** Our chains in the kernel, one a family: found, made, changed, taken away; and the grants that they hold. */

import {
  type Family,
  familyOf,
  FirewallError,
  type Grant,
  type Guarded,
  openingKey,
} from "../firewall.ts";
import {
  type IptablesListing,
  isOurs,
  ourChains,
  portray,
  readListing,
} from "./listing.ts";
import type { Iptables } from "./program.ts";
import {
  applyScript,
  changeScript,
  grantRule,
  removeScript,
  type Style,
} from "./rules.ts";

/** The chain of one name in each family. Its methods throw FirewallError. */
export class IptablesChains {
  readonly #programs: Iptables;
  readonly #chain: string;
  readonly #mode: Style["mode"];
  /** The families whose kernel part has no xt_time. */
  readonly #untimed = new Set<Family>();
  /** The rules of each chain but the grants', as they were listed when made. */
  readonly #others = new Map<Family, string>();

  constructor(programs: Iptables, chain: string, mode: Style["mode"]) {
    this.#programs = programs;
    this.#chain = chain;
    this.#mode = mode;
  }

  /** True if the kernel ends all grants by itself, as far as it was tried. */
  get areTimed(): boolean {
    return this.#untimed.size === 0;
  }

  /** Tries anew, with the next make(), whether the kernel has xt_time. */
  tryTimes(): void {
    this.#untimed.clear();
  }

  /** The listing; throws FirewallError when the chain of our name is another's. */
  async look(family: Family): Promise<string> {
    const listing = await this.#programs.list(family);
    const found = readListing(listing, this.#chain);
    if (!found.rules?.length || isOurs(found)) return listing;
    throw new FirewallError(
      `chain ${this.#chain} is there already and was not made by this program`,
      `if nobody needs it: iptables -F ${this.#chain}, or name another one ` +
        `under firewall.chain`,
    );
  }

  /** Makes a family's chain anew, in one step. */
  async make(
    family: Family,
    listing: string,
    services: readonly Guarded[],
    held: Held,
  ): Promise<void> {
    const found = readListing(listing, this.#chain);
    try {
      await this.#write(family, found, services, held);
    } catch (error) {
      if (this.#untimed.has(family)) throw error;
      this.#untimed.add(family);
      try {
        await this.#write(family, found, services, held);
      } catch {
        this.#untimed.delete(family);
        throw error;
      }
    }
    const made = readListing(await this.#programs.list(family), this.#chain);
    this.#others.set(family, portray(made.rules ?? []).others);
  }

  /** The script that turns what a chain holds into something else; null = it holds just that. */
  changeText(family: Family, held: Held, wanted: Held): string | null {
    const before = this.#rulesOf(family, without(held, wanted));
    const after = this.#rulesOf(family, without(wanted, held));
    const gone = before.filter((rule) => !after.includes(rule));
    const fresh = after.filter((rule) => !before.includes(rule));
    if (gone.length + fresh.length === 0) return null;
    return changeScript(this.#style(family), gone, fresh);
  }

  /** Runs a script, all of it or nothing. */
  run(family: Family, script: string): Promise<void> {
    return this.#programs.restore(family, script);
  }

  /** True if a family's chain is as it was made, and holds these grants. */
  async isIntact(family: Family, held: Held): Promise<boolean> {
    const listing = await this.#programs.list(family);
    const { rules, first } = readListing(listing, this.#chain);
    if (!first || rules === null) return false;
    const { grants, others } = portray(rules);
    const wanted = portray(this.#rulesOf(family, held)).grants;
    return grants === wanted && others === this.#others.get(family);
  }

  /** Takes a family's chain away, if it is ours. */
  async remove(family: Family): Promise<void> {
    const listing = await this.#programs.list(family);
    if (!isOurs(readListing(listing, this.#chain))) return;
    await this.#removeChain(family, listing, this.#chain);
  }

  /** Takes away what an earlier configuration made under another name. */
  async removeOld(family: Family, listing: string): Promise<void> {
    for (const chain of ourChains(listing)) {
      if (chain !== this.#chain) {
        await this.#removeChain(family, listing, chain);
      }
    }
  }

  #write(
    family: Family,
    found: IptablesListing,
    services: readonly Guarded[],
    held: Held,
  ): Promise<void> {
    const grants = ofFamily(family, held);
    const script = applyScript(this.#style(family), services, grants, found);
    return this.#programs.restore(family, script);
  }

  async #removeChain(
    family: Family,
    listing: string,
    chain: string,
  ): Promise<void> {
    const script = removeScript(chain, readListing(listing, chain));
    await this.#programs.restore(family, script);
  }

  #rulesOf(family: Family, held: Held): string[] {
    const style = this.#style(family);
    return ofFamily(family, held).map((grant) => grantRule(grant, style));
  }

  #style(family: Family): Style {
    return {
      chain: this.#chain,
      mode: this.#mode,
      timed: !this.#untimed.has(family),
    };
  }
}

/** Each opening once. */
export type Held = ReadonlyMap<string, Grant>;

/** Takes these grants for held; the last of each opening. */
export function hold(grants: readonly Grant[]): Held {
  return new Map(grants.map((grant) => [openingKey(grant), grant]));
}

/** Those whose time is not over. */
export function alive(held: Held, nowMs: number): Held {
  return new Map([...held].filter(([, { untilMs }]) => untilMs > nowMs));
}

/** Those that are left when what `grants` open is as open as `live` says. */
export function changeHeld(
  held: Held,
  grants: readonly Grant[],
  live: readonly Grant[],
  nowMs: number,
): Held {
  const after = new Map(alive(held, nowMs));
  const keys = new Set(grants.map(openingKey));
  for (const key of keys) after.delete(key);
  for (const grant of live) {
    const key = openingKey(grant);
    if (!keys.has(key) || grant.untilMs <= nowMs) continue;
    const other = after.get(key);
    if (!other || other.untilMs < grant.untilMs) after.set(key, grant);
  }
  return after;
}

/** Those of one family. */
export function ofFamily(family: Family, held: Held): Grant[] {
  return [...held.values()].filter(({ address }) =>
    familyOf(address) === family
  );
}

/** Those that are not, just as they are, among others. */
export function without(held: Held, other: Held): Held {
  return new Map([...held].filter(([key, grant]) => other.get(key) !== grant));
}
