/**
 * The iptables backend: a rule for each grant, ended by the kernel's xt_time.
 * A change is one run of iptables-restore for each family, all or nothing.
 * @module
 */

import type { Runtime } from "../runtime/runtime.ts";
import { formatPortRange } from "../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
} from "./firewall.ts";
import { Iptables, type Variant } from "./iptables_program.ts";
import {
  applyScript,
  changeScript,
  DEFAULT_CHAIN,
  familyOf,
  grantRule,
  isOurs,
  LAST_STOP_SECONDS,
  ourChains,
  portray,
  readListing,
  removeScript,
  type Style,
} from "./iptables_rules.ts";
import { FAMILIES, type Family } from "./nft_sets.ts";

/** How the chain is to be. */
export interface IptablesOptions {
  readonly mode: "guard" | "accept";
  /** The chain's name; null = {@linkcode DEFAULT_CHAIN}. */
  readonly chain: string | null;
}

/**
 * Opens the iptables backend; throws FirewallError when iptables cannot be
 * used. Where ip6tables alone cannot, it goes on with IPv4, and its name says so.
 */
export async function iptablesFirewall(
  runtime: Runtime,
  { mode, chain }: IptablesOptions,
  variant: Variant = "",
): Promise<Firewall> {
  const programs = new Iptables(runtime, variant);
  const version = await programs.version();
  await programs.list(4);
  const lacking = await programs.list(6).then(() => null, (error) => {
    if (!(error instanceof FirewallError)) throw error;
    return error.message;
  });
  const options = { mode, chain: chain ?? DEFAULT_CHAIN };
  return new IptablesFirewall({ runtime, programs, version, lacking }, options);
}

interface Parts {
  readonly runtime: Runtime;
  readonly programs: Iptables;
  readonly version: string;
  /** Why there is no IPv6; null when there is. */
  readonly lacking: string | null;
}

type Held = ReadonlyMap<string, Grant>;

class IptablesFirewall implements Firewall {
  readonly #parts: Parts;
  readonly #mode: Style["mode"];
  readonly #chain: string;
  readonly #families: readonly Family[];
  /** The families whose kernel part has no xt_time. */
  readonly #untimed = new Set<Family>();
  /** The last applied; null before. */
  #services: readonly Guarded[] | null = null;
  /** The grants that have a rule, by address and ports. */
  #held: Held = new Map();
  /** The rules of each chain but the grants', as they were listed when made. */
  readonly #others = new Map<Family, string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    parts: Parts,
    { mode, chain }: { mode: Style["mode"]; chain: string },
  ) {
    this.#parts = parts;
    this.#mode = mode;
    this.#chain = chain;
    this.#families = parts.lacking === null ? FAMILIES : [4];
  }

  get name(): string {
    const { version, lacking } = this.#parts;
    const open = this.#mode === "guard" ? "IPv6 is not guarded" : "IPv4 only";
    return version + (lacking === null ? "" : `, ${open}: ${lacking}`) +
      (this.endsGrants ? "" : ", without xt_time: the server ends grants");
  }

  get endsGrants(): boolean {
    return this.#untimed.size === 0;
  }

  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const forward = services.find(({ to }) => to !== null);
      if (forward) throw forwardError(forward.name);
      const held = new Map(
        grants.filter((grant) =>
          grant.untilMs > nowMs && this.#trouble(grant) === null
        ).map((grant) => [keyOf(grant), grant]),
      );
      const looks: [Family, string][] = [];
      for (const family of this.#families) {
        looks.push([family, await this.#look(family)]);
      }
      this.#untimed.clear();
      for (const [family, listing] of looks) {
        await this.#write(family, listing, services, held);
        await this.#removeOld(family, listing);
      }
      this.#services = services;
      this.#held = held;
    });
  }

  open(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    for (const grant of grants) {
      const trouble = this.#trouble(grant);
      if (trouble) return Promise.reject(trouble);
    }
    return this.#change(grants, [...grants, ...all], nowMs);
  }

  close(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#change(grants, all, nowMs);
  }

  /** Also takes out the rules whose time is over. */
  intact(): Promise<boolean> {
    return this.#inTurn(async () => {
      const services = this.#services;
      if (!services) return false;
      for (const family of this.#families) {
        const listing = await this.#parts.programs.list(family);
        const { rules, first } = readListing(listing, this.#chain);
        if (!first || rules === null) return false;
        const { grants, others } = portray(rules);
        const wanted = portray(this.#rulesOf(family, this.#held)).grants;
        if (grants !== wanted || others !== this.#others.get(family)) {
          return false;
        }
      }
      await this.#turnInto(alive(this.#held, this.#parts.runtime.nowMs()));
      return true;
    });
  }

  async stop(): Promise<void> {}

  remove(): Promise<void> {
    return this.#inTurn(async () => {
      for (const family of this.#families) {
        const listing = await this.#parts.programs.list(family);
        if (!isOurs(readListing(listing, this.#chain))) continue;
        await this.#removeChain(family, listing, this.#chain);
      }
      this.#services = null;
      this.#held = new Map();
    });
  }

  /** Why a grant cannot be had with iptables; null when it can. */
  #trouble({ address, ports, untilMs, once, to }: Grant): FirewallError | null {
    const shown = formatPortRange(ports);
    if (to) return forwardError(shown);
    if (once) {
      return new FirewallError(
        `iptables cannot end a grant with its first connection, got "${shown}"`,
        "once is for firewall.backend nft or gate",
      );
    }
    if (!this.#families.includes(familyOf(address))) {
      return new FirewallError(
        `nothing can be opened for IPv6: ${this.#parts.lacking}`,
      );
    }
    if (untilMs / 1000 > LAST_STOP_SECONDS) {
      return new FirewallError(
        "iptables cannot hold a grant until after January 2038",
      );
    }
    return null;
  }

  /** Makes the ports of `grants` as open as `live` says. */
  #change(
    grants: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#services) throw new FirewallError("iptables: not set up yet");
      const after = alive(this.#held, nowMs);
      const keys = new Set(grants.map(keyOf));
      for (const key of keys) after.delete(key);
      for (const grant of live) {
        const key = keyOf(grant);
        if (!keys.has(key) || this.#trouble(grant)) continue;
        const other = after.get(key);
        if (grant.untilMs <= nowMs) continue;
        if (!other || other.untilMs < grant.untilMs) after.set(key, grant);
      }
      await this.#turnInto(after);
    });
  }

  /** Has the chains hold these grants; all of it, or it throws and they hold what they did. */
  async #turnInto(after: Held): Promise<void> {
    const changed: Family[] = [];
    try {
      for (const family of this.#families) {
        const before = this.#rulesOf(family, without(this.#held, after));
        const wanted = this.#rulesOf(family, without(after, this.#held));
        const gone = before.filter((rule) => !wanted.includes(rule));
        const fresh = wanted.filter((rule) => !before.includes(rule));
        if (gone.length + fresh.length === 0) continue;
        const script = changeScript(this.#style(family), gone, fresh);
        await this.#parts.programs.restore(family, script)
          // Somebody changed the chain: it is made anew, with all that we know.
          .catch(() => this.#rewrite(family, after));
        changed.push(family);
      }
    } catch (error) {
      for (const family of changed) {
        await this.#rewrite(family, this.#held).catch(() => {});
      }
      throw error;
    }
    this.#held = after;
  }

  async #rewrite(family: Family, held: Held): Promise<void> {
    const listing = await this.#look(family);
    await this.#write(family, listing, this.#services ?? [], held);
  }

  /** Makes a family's chain anew, in one step. */
  async #write(
    family: Family,
    listing: string,
    services: readonly Guarded[],
    held: Held,
  ): Promise<void> {
    const { programs } = this.#parts;
    const found = readListing(listing, this.#chain);
    const grants = ofFamily(family, held);
    const write = () =>
      programs.restore(
        family,
        applyScript(this.#style(family), services, grants, found),
      );
    try {
      await write();
    } catch (error) {
      if (this.#untimed.has(family)) throw error;
      this.#untimed.add(family);
      try {
        await write();
      } catch {
        this.#untimed.delete(family);
        throw error;
      }
    }
    const made = readListing(await programs.list(family), this.#chain);
    this.#others.set(family, portray(made.rules ?? []).others);
  }

  /** The listing; throws when the chain of our name is another's. */
  async #look(family: Family): Promise<string> {
    const listing = await this.#parts.programs.list(family);
    const found = readListing(listing, this.#chain);
    if (!found.rules?.length || isOurs(found)) return listing;
    throw new FirewallError(
      `chain ${this.#chain} is there already and was not made by this program`,
      `if nobody needs it: iptables -F ${this.#chain}, or name another one ` +
        `under firewall.chain`,
    );
  }

  /** Takes away what an earlier configuration made under another name. */
  async #removeOld(family: Family, listing: string): Promise<void> {
    for (const chain of ourChains(listing)) {
      if (chain !== this.#chain) {
        await this.#removeChain(family, listing, chain);
      }
    }
  }

  async #removeChain(
    family: Family,
    listing: string,
    chain: string,
  ): Promise<void> {
    const script = removeScript(chain, readListing(listing, chain));
    await this.#parts.programs.restore(family, script);
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

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

function keyOf({ address, ports }: Grant): string {
  return `${address} ${formatPortRange(ports)}`;
}

/** The grants whose time is not over, to be changed. */
function alive(held: Held, nowMs: number): Map<string, Grant> {
  return new Map([...held].filter(([, { untilMs }]) => untilMs > nowMs));
}

function ofFamily(family: Family, held: Held): Grant[] {
  return [...held.values()].filter(({ address }) =>
    familyOf(address) === family
  );
}

function without(held: Held, other: Held): Held {
  return new Map([...held].filter(([key, grant]) => other.get(key) !== grant));
}

function forwardError(what: string): FirewallError {
  return new FirewallError(
    `iptables cannot forward, got "${what}" with "to"`,
    "services with a to are for firewall.backend nft or gate",
  );
}
