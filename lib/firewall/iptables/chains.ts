/** Our chains in the kernel, one a family: found, made, changed, taken away; and the grants that they hold. */

import type { PortRange } from "../../values/ports.ts";
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
  type ChainPlace,
  changeScript,
  grantRule,
  placeOf,
  removeScript,
  sameRules,
  type Style,
  TABLES,
} from "./rules.ts";

/** The chain of one name in each family. Its methods throw FirewallError. */
export class IptablesChains {
  readonly #programs: Iptables;
  readonly #plain: Omit<Style, "timed">;
  /** Ports whose connections end with their grant, as of the last make(). */
  #cut: readonly PortRange[] = [];
  /** The families whose kernel part has no xt_time. */
  readonly #untimed = new Set<Family>();
  /** The rules of each chain but the grants', as they were listed when made. */
  readonly #others = new Map<Family, string>();

  constructor(programs: Iptables, style: Omit<Style, "timed">) {
    this.#programs = programs;
    this.#plain = style;
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
  async look(family: Family): Promise<IptablesListing> {
    const found = await this.#list(family);
    if (!found.rules?.length || isOurs(found)) return found;
    const { table, chain } = this.#place(family);
    const option = table === "filter" ? "" : `-t ${table} `;
    throw new FirewallError(
      `chain ${chain} is there already and was not made by this program`,
      `if nobody needs it: iptables ${option}-F ${chain}` +
        (table === "filter"
          ? ", or name another one under firewall.chain"
          : ""),
    );
  }

  /** Makes a family's chain anew, in one step. */
  async make(
    family: Family,
    found: IptablesListing,
    services: readonly Guarded[],
    held: Held,
  ): Promise<void> {
    this.#cut = services.filter(({ cut }) => cut).flatMap(({ ports }) => ports);
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
    const made = await this.#list(family);
    this.#others.set(family, portray(made.rules ?? []).others);
  }

  /** The script that turns what a chain holds into something else; null = it holds just that. */
  changeText(family: Family, held: Held, wanted: Held): string | null {
    const before = this.#rulesOf(family, without(held, wanted));
    const after = this.#rulesOf(family, without(wanted, held));
    const gone = before.filter((rule) => !after.includes(rule));
    const fresh = after.filter((rule) => !before.includes(rule));
    if (gone.length + fresh.length === 0) return null;
    return changeScript(
      this.#style(family),
      this.#place(family),
      gone,
      fresh,
    );
  }

  /** Runs a script, all of it or nothing. */
  run(family: Family, script: string): Promise<void> {
    return this.#programs.restore(family, script);
  }

  /** True if a family's chain is as it was made, and holds these grants. */
  async isIntact(family: Family, held: Held): Promise<boolean> {
    const { rules, first, cuts } = await this.#list(family);
    const isPlaced = first && sameRules(cuts, this.#place(family).cuts);
    if (!isPlaced || rules === null) return false;
    const { grants, others } = portray(rules);
    const wanted = portray(this.#rulesOf(family, held)).grants;
    return grants === wanted && others === this.#others.get(family);
  }

  /** Takes a family's chain away, if it is ours. */
  async remove(family: Family): Promise<void> {
    const found = await this.#list(family);
    if (!isOurs(found)) return;
    const script = removeScript(this.#place(family), found);
    await this.#programs.restore(family, script);
  }

  /** Takes away what an earlier configuration, or an older version, made elsewhere. */
  async removeOld(family: Family): Promise<void> {
    const place = this.#place(family);
    for (const table of TABLES) {
      const listing = await this.#programs.list(family, table);
      for (const chain of ourChains(listing)) {
        if (table === place.table && chain === place.chain) continue;
        const found = readListing(listing, { chain, jumps: [] });
        const script = removeScript({ table, chain }, found);
        await this.#programs.restore(family, script);
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
    const script = applyScript(
      this.#style(family),
      this.#place(family),
      services,
      grants,
      found,
    );
    return this.#programs.restore(family, script);
  }

  async #list(family: Family): Promise<IptablesListing> {
    const place = this.#place(family);
    return readListing(await this.#programs.list(family, place.table), place);
  }

  #place(family: Family): ChainPlace {
    return placeOf(this.#plain, family, this.#cut);
  }

  #rulesOf(family: Family, held: Held): string[] {
    const style = this.#style(family);
    return ofFamily(family, held).map((grant) => grantRule(grant, style));
  }

  #style(family: Family): Style {
    return { ...this.#plain, timed: !this.#untimed.has(family) };
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

/** Grants that are left when the ports of `grants` are as open as `live` says. */
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

function ofFamily(family: Family, held: Held): Grant[] {
  return [...held.values()].filter(({ address }) =>
    familyOf(address) === family
  );
}

/** Those that are not, just as they are, among others. */
export function without(held: Held, other: Held): Held {
  return new Map([...held].filter(([key, grant]) => other.get(key) !== grant));
}
