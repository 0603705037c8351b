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
  const found = version + (lacking === null ? "" : `, ${open}: ${lacking}`);
  const areTimed = () => chains.every(({ isTimed }) => isTimed);
  /** The last applied; null before. */
  let applied: readonly Guarded[] | null = null;
  /** The grants that have a rule. */
  let held: Held = new Map();

  /** Has the chains hold these grants; all of it, or it throws and they hold what they did. */
  async function turnInto(after: Held, services: readonly Guarded[]) {
    const changed: IptablesChain[] = [];
    try {
      for (const chain of chains) {
        if (await chain.turn(held, after, services)) changed.push(chain);
      }
    } catch (error) {
      for (const chain of changed) {
        await chain.rewrite(services, held).catch(() => {});
      }
      throw error;
    }
    held = after;
  }

  return {
    get name() {
      const note = ", without xt_time: the server ends grants";
      return found + (areTimed() ? "" : note);
    },

    get endsGrants() {
      return areTimed();
    },

    // The kernel does not tell of changes by iptables-legacy.
    tables: version.includes("nf_tables")
      ? ["ip mangle", "ip filter", "ip6 mangle", "ip6 filter"]
      : [],

    async apply(services, grants, nowMs) {
      const forward = services.find(({ to }) => to !== null);
      if (forward) throw forwardError(forward.name);
      const live = hold(
        grants.filter((grant) =>
          grant.untilMs > nowMs && trouble(grant, lacking) === null
        ),
      );
      const looks: [IptablesChain, IptablesListing][] = [];
      for (const chain of chains) looks.push([chain, await chain.look()]);
      for (const [chain, listing] of looks) {
        await chain.make(listing, services, live, true);
        await chain.removeOld();
      }
      applied = services;
      held = live;
    },

    async change(touched, live, nowMs) {
      for (const grant of openAmong(touched, live)) {
        const error = trouble(grant, lacking);
        if (error) throw error;
      }
      if (!applied) throw new FirewallError("iptables: not set up yet");
      const able = live.filter((grant) => trouble(grant, lacking) === null);
      await turnInto(changeHeld(held, touched, able, nowMs), applied);
    },

    /** Also takes out the rules whose time is over. */
    async intact() {
      if (!applied) return false;
      for (const chain of chains) {
        if (!await chain.isIntact(held)) return false;
      }
      await turnInto(alive(held, runtime.nowMs()), applied);
      return true;
    },

    async stop() {},

    async remove() {
      for (const chain of chains) await chain.remove();
      applied = null;
      held = new Map();
    },
  };
}

/** Why a grant cannot be had with iptables; null when it can. `lacking`: why there is no IPv6. */
function trouble(
  { address, ports, untilMs, once, to }: Grant,
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
  if (lacking !== null && familyOf(address) === 6) {
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
