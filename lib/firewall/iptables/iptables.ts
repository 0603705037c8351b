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
  type Family,
  familyOf,
  type Firewall,
  type FirewallConfig,
  FirewallError,
  type Grant,
  type Guarded,
  MissingError,
  openAmong,
} from "../firewall.ts";
import {
  alive,
  changeHeld,
  type Held,
  hold,
  IptablesChains,
} from "./chains.ts";
import { type IptablesListing, ourChains, readListing } from "./listing.ts";
import { Iptables, type Variant } from "./program.ts";
import {
  DEFAULT_CHAIN,
  LAST_STOP_SECONDS,
  placeOf,
  removeScript,
} from "./rules.ts";

/** Without a chain, {@linkcode DEFAULT_CHAIN}; without interfaces, all but the loopback. */
type IptablesOptions =
  & Pick<FirewallConfig, "mode" | "chain">
  & Partial<Pick<FirewallConfig, "interfaces">>;

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
  const lacking = await caught(
    FirewallError,
    () => programs.list(6, table).then(() => null),
    ({ message }) => message,
  );
  const style = { chain: chain ?? DEFAULT_CHAIN, mode, interfaces };
  const chains = new IptablesChains(programs, style);
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
  readonly #chains: IptablesChains;
  readonly #name: string;
  /** Why there is no IPv6; null when there is. */
  readonly #lacking: string | null;
  readonly #families: readonly Family[];
  /** The last applied; null before. */
  #services: readonly Guarded[] | null = null;
  /** The grants that have a rule. */
  #held: Held = new Map();

  constructor(
    runtime: Runtime,
    chains: IptablesChains,
    name: string,
    tables: readonly string[],
    lacking: string | null,
  ) {
    this.#runtime = runtime;
    this.#chains = chains;
    this.#name = name;
    this.#lacking = lacking;
    this.#families = lacking === null ? FAMILIES : [4];
    this.tables = tables;
  }

  get name(): string {
    const note = ", without xt_time: the server ends grants";
    return this.#name + (this.endsGrants ? "" : note);
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
    await this.#turnInto(alive(this.#held, this.#runtime.nowMs()));
    return true;
  }

  async stop(): Promise<void> {}

  async remove(): Promise<void> {
    for (const family of this.#families) await this.#chains.remove(family);
    this.#services = null;
    this.#held = new Map();
  }

  #trouble(grant: Grant): FirewallError | null {
    return trouble(grant, this.#families, this.#lacking);
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

// Removal of all chains of ours, whatever the configuration is.

/** One chain of ours, and the script that takes it away. */
interface ChainRemoval {
  readonly table: string;
  readonly chain: string;
  /** True if rules of others jump to it: then it stays, empty. */
  readonly stays: boolean;
  /** For iptables-restore. */
  readonly script: string;
}

/** Finds the chains of ours in what `iptables-save` prints. Pure. */
export function findRemovals(saved: string): readonly ChainRemoval[] {
  const tables = saved.matchAll(/^\*(\S+)\n([^]*?)^COMMIT$/gm);
  return [...tables].flatMap(([, table = "", body = ""]) =>
    ourChains(body).map((chain, index) => {
      const found = readListing(body, { chain, jumps: [] });
      // The rules of OUTPUT go with the first.
      const own = index === 0 ? found : { ...found, cuts: [] };
      const script = removeScript({ table, chain }, own);
      return { table, chain, stays: found.shared, script };
    })
  );
}

/** Takes away all chains of ours, and names them. Throws FirewallError. */
export async function removeFromIptables(runtime: Runtime): Promise<string[]> {
  const removed: string[] = [];
  let isInstalled = false;
  for (const variant of ["", "-nft", "-legacy"] as const) {
    const programs = new Iptables(runtime, variant);
    for (const family of FAMILIES) {
      const saved = await programs.save(family);
      isInstalled ||= saved !== null;
      for (const { table, chain, stays, script } of findRemovals(saved ?? "")) {
        await programs.restore(family, script);
        const name = family === 4 ? "iptables" : "ip6tables";
        removed.push(
          `${name} ${table} chain ${chain}` +
            (stays ? ": emptied, as other rules jump to it" : ""),
        );
      }
    }
  }
  if (isInstalled) return removed;
  throw new MissingError("neither iptables nor ip6tables is installed");
}
