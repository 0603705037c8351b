/**
 * The iptables backend: a rule for each grant, ended by the kernel's xt_time.
 * A change is one run of iptables-restore for each family, all or nothing.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { formatPortRange } from "../../values/ports.ts";
import {
  FAMILIES,
  type Family,
  familyOf,
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  openAmong,
} from "../firewall.ts";
import {
  alive,
  changeHeld,
  type Held,
  hold,
  IptablesChains,
} from "./chains.ts";
import type { IptablesListing } from "./listing.ts";
import { Iptables, type Variant } from "./program.ts";
import {
  DEFAULT_CHAIN,
  LAST_STOP_SECONDS,
  placeOf,
  type Style,
} from "./rules.ts";

/** Mode and name of the chain. */
interface IptablesOptions {
  readonly mode: "guard" | "accept";
  /** The chain's name; null = {@linkcode DEFAULT_CHAIN}. */
  readonly chain: string | null;
  /** Interfaces at which ports are guarded; none or absent = all but the loopback. */
  readonly interfaces?: readonly string[];
}

/**
 * Opens the iptables backend; throws FirewallError when iptables cannot be
 * used. Where ip6tables alone cannot, it goes on with IPv4, and its name says so.
 */
export async function iptablesFirewall(
  runtime: Runtime,
  { mode, chain, interfaces = [] }: IptablesOptions,
  variant: Variant = "",
): Promise<Firewall> {
  const programs = new Iptables(runtime, variant);
  const version = await programs.version();
  const { table } = placeOf({ mode, chain: "" }, 4);
  await programs.list(4, table);
  const lacking = await programs.list(6, table).then(() => null, (error) => {
    if (!(error instanceof FirewallError)) throw error;
    return error.message;
  });
  const style = { chain: chain ?? DEFAULT_CHAIN, mode, interfaces };
  const chains = new IptablesChains(programs, style);
  return new IptablesFirewall({ runtime, chains, version, mode, lacking });
}

interface Parts {
  readonly runtime: Runtime;
  readonly chains: IptablesChains;
  readonly version: string;
  readonly mode: Style["mode"];
  /** Why there is no IPv6; null when there is. */
  readonly lacking: string | null;
}

class IptablesFirewall implements Firewall {
  readonly #parts: Parts;
  readonly #chains: IptablesChains;
  readonly #families: readonly Family[];
  /** The last applied; null before. */
  #services: readonly Guarded[] | null = null;
  /** The grants that have a rule. */
  #held: Held = new Map();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#chains = parts.chains;
    this.#families = parts.lacking === null ? FAMILIES : [4];
  }

  get name(): string {
    const { version, mode, lacking } = this.#parts;
    const open = mode === "guard" ? "IPv6 is not guarded" : "IPv4 only";
    return version + (lacking === null ? "" : `, ${open}: ${lacking}`) +
      (this.endsGrants ? "" : ", without xt_time: the server ends grants");
  }

  /** Tables of iptables-nft; the kernel does not tell of changes by iptables-legacy. */
  get tables(): readonly string[] {
    return this.#parts.version.includes("nf_tables")
      ? ["ip mangle", "ip filter", "ip6 mangle", "ip6 filter"]
      : [];
  }

  get endsGrants(): boolean {
    return this.#chains.areTimed;
  }

  async apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    const forward = services.find(({ to }) => to !== null);
    if (forward) throw forwardError(forward.name);
    const held = hold(
      grants.filter((grant) =>
        grant.untilMs > nowMs && this.#trouble(grant) === null
      ),
    );
    const looks: [Family, IptablesListing][] = [];
    for (const family of this.#families) {
      looks.push([family, await this.#chains.look(family)]);
    }
    this.#chains.tryTimes();
    for (const [family, found] of looks) {
      await this.#chains.make(family, found, services, held);
      await this.#chains.removeOld(family);
    }
    this.#services = services;
    this.#held = held;
  }

  async change(
    touched: readonly Grant[],
    live: readonly Grant[],
    nowMs: number,
  ): Promise<void> {
    for (const grant of openAmong(touched, live)) {
      const error = this.#trouble(grant);
      if (error) throw error;
    }
    if (!this.#services) throw new FirewallError("iptables: not set up yet");
    const able = live.filter((grant) => this.#trouble(grant) === null);
    await this.#turnInto(changeHeld(this.#held, touched, able, nowMs));
  }

  /** Also takes out the rules whose time is over. */
  async intact(): Promise<boolean> {
    if (!this.#services) return false;
    for (const family of this.#families) {
      if (!await this.#chains.isIntact(family, this.#held)) return false;
    }
    await this.#turnInto(alive(this.#held, this.#parts.runtime.nowMs()));
    return true;
  }

  async stop(): Promise<void> {}

  async remove(): Promise<void> {
    for (const family of this.#families) await this.#chains.remove(family);
    this.#services = null;
    this.#held = new Map();
  }

  #trouble(grant: Grant): FirewallError | null {
    return trouble(grant, this.#families, this.#parts.lacking);
  }

  /** Has the chains hold these grants; all of it, or it throws and they hold what they did. */
  async #turnInto(after: Held): Promise<void> {
    const changed: Family[] = [];
    try {
      for (const family of this.#families) {
        const script = this.#chains.changeText(family, this.#held, after);
        if (script === null) continue;
        await this.#chains.run(family, script)
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
    const found = await this.#chains.look(family);
    await this.#chains.make(family, found, this.#services ?? [], held);
  }
}

// Grants that iptables cannot hold, and why.

/** Why a grant cannot be had with iptables; null when it can. */
export function trouble(
  { address, ports, untilMs, once, to }: Grant,
  families: readonly Family[],
  lacking: string | null,
): FirewallError | null {
  const shown = formatPortRange(ports);
  if (to) return forwardError(shown);
  if (once) {
    return new FirewallError(
      `iptables cannot end a grant with its first connection, got "${shown}"`,
      "once is for firewall.backend nft or gate",
    );
  }
  if (!families.includes(familyOf(address))) {
    return new FirewallError(`nothing can be opened for IPv6: ${lacking}`);
  }
  if (untilMs / 1000 > LAST_STOP_SECONDS) {
    return new FirewallError(
      "iptables cannot hold a grant until after January 2038",
    );
  }
  return null;
}

/** That something would lead elsewhere: a service by name, or a grant's ports. */
function forwardError(what: string): FirewallError {
  return new FirewallError(
    `iptables cannot forward, got "${what}" with "to"`,
    "services with a to are for firewall.backend nft or gate",
  );
}
