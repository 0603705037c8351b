/**
 * The iptables backend: a rule for each grant, ended by the kernel's xt_time.
 * A change is one run of iptables-restore for each family, all or nothing.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { caught } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import {
  FAMILIES,
  familyOf,
  type Firewall,
  type FirewallConfig,
  FirewallError,
  type Grant,
  type Guarded,
  MissingError,
  openAmong,
} from "../firewall.ts";
import { alive, changeHeld, type Held, hold, IptablesChain } from "./chain.ts";
import type { IptablesListing } from "./listing.ts";
import { Iptables, type Variant } from "./program.ts";
import {
  DEFAULT_CHAIN,
  LAST_STOP_SECONDS,
  placeOf,
  removals,
} from "./rules.ts";

type IptablesOptions = Pick<FirewallConfig, "mode" | "chain" | "interfaces">;

/**
 * Opens the iptables backend; throws FirewallError when iptables cannot be
 * used. Where ip6tables alone cannot, it goes on with IPv4, and its name says so.
 */
export async function iptablesFirewall(
  runtime: Runtime,
  { mode, chain, interfaces }: IptablesOptions,
  variant: Variant = "",
): Promise<Firewall> {
  const four = new Iptables(runtime, 4, variant);
  const six = new Iptables(runtime, 6, variant);
  const version = await four.version();
  const { table } = placeOf({ mode, chain: "" }, 4);
  await four.list(table);
  const lacking = await caught(
    FirewallError,
    () => six.list(table).then(() => null),
    ({ message }) => message,
  );
  const style = { chain: chain ?? DEFAULT_CHAIN, mode, interfaces };
  const chains = (lacking === null ? [four, six] : [four])
    .map((programs) => new IptablesChain(programs, style));
  const open = mode === "guard" ? "IPv6 is not guarded" : "IPv4 only";
  const name = version + (lacking === null ? "" : `, ${open}: ${lacking}`);
  const tables = version.includes("nf_tables")
    ? ["ip mangle", "ip filter", "ip6 mangle", "ip6 filter"]
    : [];
  return new IptablesFirewall(runtime, chains, name, tables, lacking);
}

class IptablesFirewall implements Firewall {
  /** Tables of iptables-nft; the kernel does not tell of changes by iptables-legacy. */
  readonly tables: readonly string[];
  readonly #runtime: Runtime;
  /** One a family. */
  readonly #chains: readonly IptablesChain[];
  readonly #name: string;
  /** Why there is no IPv6; null when there is. */
  readonly #lacking: string | null;
  /** The last applied; null before. */
  #services: readonly Guarded[] | null = null;
  /** The grants that have a rule. */
  #held: Held = new Map();

  constructor(
    runtime: Runtime,
    chains: readonly IptablesChain[],
    name: string,
    tables: readonly string[],
    lacking: string | null,
  ) {
    this.#runtime = runtime;
    this.#chains = chains;
    this.#name = name;
    this.tables = tables;
    this.#lacking = lacking;
  }

  get name(): string {
    const note = ", without xt_time: the server ends grants";
    return this.#name + (this.endsGrants ? "" : note);
  }

  get endsGrants(): boolean {
    return this.#chains.every(({ isTimed }) => isTimed);
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
    const looks: [IptablesChain, IptablesListing][] = [];
    for (const chain of this.#chains) looks.push([chain, await chain.look()]);
    for (const [chain, found] of looks) {
      await chain.make(found, services, held, true);
      await chain.removeOld();
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
    const after = changeHeld(this.#held, touched, able, nowMs);
    await this.#turnInto(after, this.#services);
  }

  /** Also takes out the rules whose time is over. */
  async intact(): Promise<boolean> {
    if (!this.#services) return false;
    for (const chain of this.#chains) {
      if (!await chain.isIntact(this.#held)) return false;
    }
    const after = alive(this.#held, this.#runtime.nowMs());
    await this.#turnInto(after, this.#services);
    return true;
  }

  async stop(): Promise<void> {}

  async remove(): Promise<void> {
    for (const chain of this.#chains) await chain.remove();
    this.#services = null;
    this.#held = new Map();
  }

  /** Has the chains hold these grants; all of it, or it throws and they hold what they did. */
  async #turnInto(after: Held, services: readonly Guarded[]): Promise<void> {
    const changed: IptablesChain[] = [];
    try {
      for (const chain of this.#chains) {
        const isChanged = await chain.turn(this.#held, after, services);
        if (isChanged) changed.push(chain);
      }
    } catch (error) {
      for (const chain of changed) {
        await chain.rewrite(services, this.#held).catch(() => {});
      }
      throw error;
    }
    this.#held = after;
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
    if (this.#lacking !== null && familyOf(address) === 6) {
      const words = `nothing can be opened for IPv6: ${this.#lacking}`;
      return new FirewallError(words);
    }
    if (untilMs / 1000 > LAST_STOP_SECONDS) {
      return new FirewallError(
        "iptables cannot hold a grant until after January 2038",
      );
    }
    return null;
  }
}

/** That something would lead elsewhere: a service by name, or a grant's ports. */
function forwardError(what: string): FirewallError {
  return new FirewallError(
    `iptables cannot forward, got "${what}" with "to"`,
    "services with a to are for firewall.backend nft or gate",
  );
}

/** Takes away all chains of ours, whatever the configuration is, and names them. Throws FirewallError. */
export async function removeFromIptables(runtime: Runtime): Promise<string[]> {
  const removed: string[] = [];
  let isInstalled = false;
  for (const variant of ["", "-nft", "-legacy"] as const) {
    for (const family of FAMILIES) {
      const programs = new Iptables(runtime, family, variant);
      const saved = await programs.save();
      isInstalled ||= saved !== null;
      const tables = (saved ?? "").matchAll(/^\*(\S+)\n([^]*?)^COMMIT$/gm);
      for (const [, table, listing] of tables) {
        for (const removal of removals(table!, listing!)) {
          await programs.restore(removal.script);
          const name = family === 4 ? "iptables" : "ip6tables";
          removed.push(
            `${name} ${table} chain ${removal.chain}` +
              (removal.isShared ? ": emptied, as other rules jump to it" : ""),
          );
        }
      }
    }
  }
  if (isInstalled) return removed;
  throw new MissingError("neither iptables nor ip6tables is installed");
}
