/**
 * The one walk through the model of the host's packet filters: would a new
 * connection from outside to a port pass, and which rule decides? Pure.
 * @module
 */

import { familyOf } from "../firewall.ts";
import { TABLE } from "../nft/rules/sets.ts";
import {
  type FilterChain,
  type HostRules,
  type Match,
  type Own,
  type Probe,
  type RuleAction,
  sure,
} from "./model.ts";

/** The chain of the iptables backend in mode guard. */
const OWN_GUARD: Own = { chain: "KNOCK", accepts: false };

/** Possible end of a packet; "ours": in this program's chain, which accepts it. */
export type Fate =
  | "accept"
  | "drop"
  | "unknown"
  | "ours"
  | `dnat ${string}`
  | `redirect ${number | null}`;

/** Rule that brings a fate about; `rule` null = the policy of the chain. */
export interface Cause {
  readonly chain: FilterChain;
  readonly rule: string | null;
}

/** Answer to "would a granted packet pass?", with the rule that drops it. */
export interface Passing {
  readonly passes: Match;
  /** The rule that drops it, or may; null when none does. */
  readonly cause: Cause | null;
  /** The chain that the kernel calls on the way to that rule. */
  readonly base: FilterChain | null;
}

const PASSES: Passing = { passes: "yes", cause: null, base: null };

/** Would a granted packet of this kind get past the host's own rules? */
export function judgePassing(
  host: HostRules,
  probe: Probe,
  own: Own,
): Passing {
  const chains = host.chains.filter(({ table }) => table !== TABLE);
  const stage = (about: Probe, ...at: readonly string[]) =>
    hooked(chains, "filter", ...at)
      .map((base) => passingOf(base, fatesIn(base, chains, about, own)))
      .reduce(worse, PASSES);
  if (probe.forwardedTo !== undefined) return stage(probe, "forward");
  const before = stage(probe, "ingress", "prerouting");
  if (before.passes === "no") return before;
  const ways = natWays(host, chains, probe, own).map((way) =>
    stage(way, way.forwardedTo !== undefined ? "forward" : "input")
  );
  return worse(before, ways.reduce(either));
}

/** Cause in words: `rule "tcp dport 22 drop" of chain input, table inet filter`. */
export function formatCause({ chain, rule }: Cause): string {
  const where = `chain ${chain.name} of table ${chain.table}`;
  return rule === null
    ? `the policy of ${where}`
    : `rule "${rule}" in ${where}`;
}

/** All that a chain which the kernel calls may do with a packet, and by which rule. */
export function fatesIn(
  base: FilterChain,
  chains: readonly FilterChain[],
  probe: Probe,
  own: Own = OWN_GUARD,
): ReadonlyMap<Fate, Cause> {
  if (!base.families.includes(probe.family)) {
    return new Map([["accept", { chain: base, rule: null }]]);
  }
  const walk: Walk = { chains, probe, own, fates: new Map(), seen: new Map() };
  if (isComing(base, chains, own)) note(walk, "ours", base, null);
  else if (follow(walk, base)) note(walk, base.policy, base, null);
  return walk.fates;
}

/** The chains that the kernel calls for a packet at one place. */
export function hooked(
  chains: readonly FilterChain[],
  kind: string,
  ...places: readonly string[]
): FilterChain[] {
  return chains.filter(({ hook }) =>
    hook?.kind === kind && places.includes(hook.at)
  );
}

/** Where a packet may go after the nat chains: here, to another port of ours, elsewhere. */
function natWays(
  { local }: HostRules,
  chains: readonly FilterChain[],
  probe: Probe,
  own: Own,
): Probe[] {
  const ways = new Map<string, Probe>();
  const add = (way: Probe) => ways.set(JSON.stringify(way), way);
  // The first chain that translates decides; of several each may be the first.
  let stays = true;
  for (const base of hooked(chains, "nat", "prerouting")) {
    const fates = [...fatesIn(base, chains, probe, own).keys()];
    for (const fate of fates) {
      const [kind, to] = fate.split(" ", 2);
      if (kind === "redirect") {
        add({ ...probe, port: to === "null" ? probe.port : Number(to) });
      } else if (kind === "dnat") add(translated(probe, to!, local));
    }
    stays &&= fates.some((fate) => !/^(redirect|dnat) /.test(fate));
  }
  const here = stays || ways.size === 0 ? [probe] : [];
  return [...here, ...ways.values()];
}

/** A probe behind DNAT to "ADDRESS", "ADDRESS:PORT" or something unknown. */
function translated(
  probe: Probe,
  to: string,
  local: readonly string[],
): Probe {
  const [, bracketed, bare, port] =
    /^(?:\[([\da-f:]+)\]|([\d.]+|[\da-f]*:[\da-f:]+))(?::(\d+))?$/.exec(to) ??
      [];
  const address = bracketed ?? bare ?? null;
  const isKnown = address !== null && familyOf(address) === probe.family;
  const at = isKnown ? port === undefined ? probe.port : Number(port) : null;
  if (isKnown && local.includes(address)) return { ...probe, port: at };
  return { ...probe, port: at, forwardedTo: isKnown ? address : null };
}

function passingOf(
  base: FilterChain,
  fates: ReadonlyMap<Fate, Cause>,
): Passing {
  const drop = fates.get("drop");
  if (drop && fates.size === 1) return { passes: "no", cause: drop, base };
  const passes = sure(!drop && !fates.has("unknown"));
  return passes === "yes"
    ? PASSES
    : { passes: "maybe", cause: drop ?? fates.get("unknown")!, base };
}

/** Of two hooks in a row: the stricter. */
function worse(a: Passing, b: Passing): Passing {
  const rank = { yes: 0, maybe: 1, no: 2 } as const;
  return rank[b.passes] > rank[a.passes] ? b : a;
}

/** Of two ways, one of which is taken. */
function either(a: Passing, b: Passing): Passing {
  if (a.passes === b.passes) return a;
  const { cause, base } = a.passes === "yes" ? b : a;
  return { passes: "maybe", cause, base };
}

/** A walk through the chains that one hook calls. */
interface Walk {
  readonly chains: readonly FilterChain[];
  readonly probe: Probe;
  readonly own: Own;
  readonly fates: Map<Fate, Cause>;
  /** Chains walked already, and whether a packet may come out at their end. */
  readonly seen: Map<FilterChain, boolean>;
}

/** Collects what may happen; whether a packet may come out at the end. */
function follow(walk: Walk, chain: FilterChain): boolean {
  const known = walk.seen.get(chain);
  if (known !== undefined) return known;
  walk.seen.set(chain, true);
  const comesOut = followRules(walk, chain);
  walk.seen.set(chain, comesOut);
  return comesOut;
}

function followRules(walk: Walk, chain: FilterChain): boolean {
  let mayReturn = false;
  for (const { match, action, text } of chain.rules) {
    const matches = match(walk.probe);
    if (matches === "no" || action.do === "pass") continue;
    const comesBack = take(walk, chain, action, text);
    const over = action.do !== "jump";
    if (over && comesBack) mayReturn = true;
    if (matches === "yes" && (over || !comesBack)) return mayReturn;
  }
  return true;
}

/** Carries out a rule; true if a packet may come back from it. */
function take(
  walk: Walk,
  chain: FilterChain,
  action: RuleAction,
  text: string,
): boolean {
  switch (action.do) {
    case "accept":
    case "drop":
    case "unknown":
      return note(walk, action.do, chain, text);
    case "dnat":
      return note(walk, `dnat ${action.to}`, chain, text);
    case "redirect":
      return note(walk, `redirect ${action.port}`, chain, text);
    case "return":
    case "pass":
      return true;
    case "jump":
    case "goto": {
      if (isOwn(chain.table, action.chain, walk.own)) {
        return walk.own.accepts ? note(walk, "ours", chain, text) : true;
      }
      const target = walk.chains.find((other) =>
        other.table === chain.table && other.name === action.chain
      );
      if (target) return follow(walk, target);
      note(walk, "unknown", chain, text);
      return true;
    }
  }
}

/** Notes what may happen, by the first rule that has it happen. */
function note(
  { fates }: Walk,
  fate: Fate,
  chain: FilterChain,
  rule: string | null,
): false {
  if (!fates.has(fate)) fates.set(fate, { chain, rule });
  return false;
}

const IPTABLES = /^(?:legacy )?ip6? (?:filter|mangle)$/;

export function isOwn(table: string, name: string, { chain }: Own): boolean {
  return chain !== null &&
    (chain === `${table} ${name}` || chain === name && IPTABLES.test(table));
}

/**
 * True if the iptables backend in mode accept will jump to its own chain first
 * here. It inserts the jump when the server starts, and again after somebody
 * deletes it, so the jump counts even where it is missing.
 */
function isComing(
  { table, name, hook }: FilterChain,
  chains: readonly FilterChain[],
  own: Own,
): boolean {
  if (!own.accepts || own.chain === null || own.chain.includes(" ")) {
    return false;
  }
  const [, family] = /^(?:legacy )?(ip6?) filter$/.exec(table) ?? [];
  return family !== undefined && name === "INPUT" && hook?.at === "input" &&
    !chains.some((chain) =>
      ` ${chain.table}`.endsWith(` ${family} filter`) &&
      chain.rules.some(({ action }) =>
        action.do === "jump" && isOwn(chain.table, action.chain, own)
      )
    );
}
