/**
 * Mode accept of the nft backend: whether the host's own input chain jumps to
 * ours, and before it drops. Pure.
 * @module
 */

import { FAMILIES } from "../firewall.ts";
import {
  formatHostChain,
  type HostChain,
  hostTable,
  TABLE,
} from "../nft/rules/sets.ts";
import { type Fate, fatesIn, hooked } from "./flow.ts";
import type { FilterChain, HostRules, Own, Probe } from "./model.ts";

/** A fault, and the hint that mends it. */
export interface Problem {
  readonly text: string;
  readonly hint: string;
}

/** Chains from a hook of the kernel to our chain, those in `by` lead to it; or the reason why there are none. */
type Jump =
  | { readonly ok: true; readonly base: string; readonly by: readonly string[] }
  | { readonly ok: false; readonly problem: Problem };

/**
 * Finds the jumps by which the host's rules come to our chain. Without one, or
 * behind a rule that drops everything, nothing that is granted is reachable.
 */
export function findJump(
  { chains }: Pick<HostRules, "chains">,
  host: HostChain,
): Jump {
  const ours = formatHostChain(host);
  const { family, table, chain } = host;
  const own: Own = { chain: ours, accepts: true };
  const bases = hooked(chains, "filter", "input").filter((base) =>
    base.table === hostTable(host)
  );
  const by = leading(chains, host);
  for (const base of bases) {
    if (allFates(base, chains, own).some((fates) => fates.has("ours"))) {
      return { ok: true, base: base.name, by: [...by] };
    }
  }
  const late = bases.find(({ name }) => by.has(name));
  if (late) {
    const text = `chain ${late.name} of table ${family} ${table} drops ` +
      `everything before it jumps to ${ours}`;
    const hint =
      `nft insert rule ${family} ${table} ${late.name} jump ${chain}`;
    return { ok: false, problem: { text, hint } };
  }
  const [base] = bases;
  const text = `the host's chain does not jump to ${ours}`;
  const hint = base
    ? `before its last drop: nft add rule ${family} ${table} ${base.name} jump ${chain}`
    : `table ${family} ${table} has no input chain: firewall.chain must be ` +
      `in the host's own table`;
  return { ok: false, problem: { text, hint } };
}

/**
 * Chains of other tables that drop all new connections, whatever ours accept:
 * an accept in one table does not undo a drop in another.
 */
export function findDrops(
  { chains }: Pick<HostRules, "chains">,
  host: HostChain,
): Problem[] {
  const { family, chain } = host;
  const own: Own = { chain: formatHostChain(host), accepts: true };
  const by = leading(chains, host);
  const wanted = family === "inet" ? FAMILIES : family === "ip" ? [4] : [6];
  return hooked(chains, "filter", "input").filter((base) =>
    base.table !== TABLE &&
    base.families.some((one) => wanted.includes(one)) &&
    !(base.table === hostTable(host) && by.has(base.name))
  ).filter((base) =>
    allFates(base, chains, own).every((fates) =>
      fates.has("drop") && fates.size === 1
    )
  ).map((base) => ({
    text: `chain ${base.name} of table ${base.table} drops every ` +
      `new connection, whatever ${formatHostChain(host)} accepts`,
    hint: `firewall.chain may be a chain of that table: "${base.table} ` +
      `${chain}"`,
  }));
}

/** Fates that a chain may have for new connections to any port, by family and protocol. */
function allFates(
  base: FilterChain,
  chains: readonly FilterChain[],
  own: Own,
): ReadonlyMap<Fate, unknown>[] {
  return base.families.flatMap((family) =>
    (["tcp", "udp"] as const).map((protocol) => {
      const probe: Probe = { family, protocol, port: null };
      return fatesIn(base, chains, probe, own);
    })
  );
}

/** The names of all chains from which a packet can come to ours, wherever the rule stands. */
function leading(chains: readonly FilterChain[], host: HostChain): Set<string> {
  const inTable = chains.filter(({ table }) => table === hostTable(host));
  const found = new Set<string>();
  const queue = [host.chain];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    for (const { name: from, rules } of inTable) {
      const leads = rules.some(({ action }) =>
        "chain" in action && action.chain === name
      );
      if (!leads || found.has(from)) continue;
      found.add(from);
      queue.push(from);
    }
  }
  return found;
}
