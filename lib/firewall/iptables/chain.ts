/** Our chain of one family in the kernel: found, made, changed, taken away; and the grants that it holds. */

import {
  familyOf,
  FirewallError,
  type Grant,
  type Guarded,
  latestEnds,
  openingKey,
} from "../firewall.ts";
import {
  type IptablesListing,
  isOurs,
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
  removals,
  removeScript,
  sameRules,
  type Style,
  TABLES,
} from "./rules.ts";

/** The chain, by the programs of its family. Its methods throw FirewallError. */
export class IptablesChain {
  readonly #programs: Iptables;
  readonly #plain: Omit<Style, "timed">;
  #place: ChainPlace;
  /** True if the kernel ends grants by xt_time, as far as it was tried. */
  isTimed = true;
  /** The rules but the grants', as they were listed when made. */
  #others: string | null = null;

  constructor(programs: Iptables, style: Omit<Style, "timed">) {
    this.#programs = programs;
    this.#plain = style;
    this.#place = placeOf(style, programs.family);
  }

  /** The listing; throws FirewallError when the chain of our name is another's. */
  async look(): Promise<IptablesListing> {
    const found = await this.#list();
    if (!found.rules?.length || isOurs(found)) return found;
    const { table, chain } = this.#place;
    const option = table === "filter" ? "" : `-t ${table} `;
    throw new FirewallError(
      `chain ${chain} is there already and was not made by this program`,
      `if nobody needs it: iptables ${option}-F ${chain}` +
        (table === "filter"
          ? ", or name another one under firewall.chain"
          : ""),
    );
  }

  /** Makes the chain anew, in one step; without xt_time where the kernel has none. */
  async make(
    found: IptablesListing,
    services: readonly Guarded[],
    held: Held,
    timed = this.isTimed,
  ): Promise<void> {
    const cut = services.filter(({ cut }) => cut).flatMap(({ ports }) => ports);
    this.#place = placeOf(this.#plain, this.#programs.family, cut);
    const grants = this.#own(held);
    const write = async (timed: boolean) => {
      const style = { ...this.#plain, timed };
      await this.#programs.restore(
        applyScript(style, this.#place, services, grants, found),
      );
      this.isTimed = timed;
    };
    try {
      await write(timed);
    } catch (error) {
      if (!timed) throw error;
      await write(false).catch(() => {
        throw error;
      });
    }
    const made = await this.#list();
    this.#others = portray(made.rules ?? []).others;
  }

  /** Looks at the chain and makes it anew. */
  async rewrite(services: readonly Guarded[], held: Held): Promise<void> {
    await this.make(await this.look(), services, held);
  }

  /** Turns what the chain holds into something else, all of it or nothing; false = it holds just that. */
  async turn(
    held: Held,
    wanted: Held,
    services: readonly Guarded[],
  ): Promise<boolean> {
    const before = this.#rules(without(held, wanted));
    const after = this.#rules(without(wanted, held));
    const gone = before.filter((rule) => !after.includes(rule));
    const fresh = after.filter((rule) => !before.includes(rule));
    if (gone.length + fresh.length === 0) return false;
    const script = changeScript(this.#style, this.#place, gone, fresh);
    await this.#programs.restore(script)
      // Somebody changed the chain: it is made anew, with all that we know.
      .catch(() => this.rewrite(services, wanted));
    return true;
  }

  /** True if the chain is as it was made, and holds these grants. */
  async isIntact(held: Held): Promise<boolean> {
    const { rules, first, cuts } = await this.#list();
    const isPlaced = first && sameRules(cuts, this.#place.cuts);
    if (!isPlaced || rules === null) return false;
    const { grants, others } = portray(rules);
    const wanted = portray(this.#rules(held)).grants;
    return grants === wanted && others === this.#others;
  }

  /** Takes the chain away, if it is ours. */
  async remove(): Promise<void> {
    const found = await this.#list();
    if (!isOurs(found)) return;
    await this.#programs.restore(removeScript(this.#place, found));
  }

  /** Takes away what an earlier configuration, or an older version, made elsewhere. */
  async removeOld(): Promise<void> {
    const place = this.#place;
    for (const table of TABLES) {
      const listing = await this.#programs.list(table);
      const kept = table === place.table ? place.chain : undefined;
      for (const { script } of removals(table, listing, kept)) {
        await this.#programs.restore(script);
      }
    }
  }

  async #list(): Promise<IptablesListing> {
    const listing = await this.#programs.list(this.#place.table);
    return readListing(listing, this.#place);
  }

  #own(held: Held): Grant[] {
    return [...held.values()].filter(({ address }) =>
      familyOf(address) === this.#programs.family
    );
  }

  #rules(held: Held): string[] {
    return this.#own(held).map((grant) => grantRule(grant, this.#style));
  }

  get #style(): Style {
    return { ...this.#plain, timed: this.isTimed };
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
  const keys = new Set(grants.map(openingKey));
  const others = [...alive(held, nowMs)].filter(([key]) => !keys.has(key));
  const open = live.filter((grant) =>
    keys.has(openingKey(grant)) && grant.untilMs > nowMs
  );
  return new Map([...others, ...latestEnds(open)]);
}

/** Those that are not, just as they are, among others. */
function without(held: Held, other: Held): Held {
  return new Map([...held].filter(([key, grant]) => other.get(key) !== grant));
}
