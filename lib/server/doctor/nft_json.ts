/** The ruleset as `nft -j list ruleset` prints it (libnftables-json(5)). */

import {
  type Action,
  both,
  type Chain,
  type Match,
  type Probe,
} from "./flow.ts";
import type { Rule } from "./flow.ts";

// deno-lint-ignore no-explicit-any -- what it does not know it takes as "maybe"
type Json = any;

/** A ruleset. */
export interface Ruleset {
  readonly chains: readonly Chain[];
  /** Tables, as "inet knock". */
  readonly tables: readonly string[];
  /** Tables with rules whose parts only iptables knows. */
  readonly opaque: readonly string[];
}

const FAMILIES: Readonly<Record<string, readonly (4 | 6)[]>> = {
  ip: [4],
  ip6: [6],
  inet: [4, 6],
};

/** Reads the JSON; null if it is none. */
export function parseNftJson(text: string): Ruleset | null {
  let all: Json[];
  try {
    all = JSON.parse(text).nftables;
    if (!Array.isArray(all)) return null;
  } catch {
    return null;
  }
  const keyOf = ({ family, table }: Json) => `${family} ${table}`;
  const rules = new Map<string, Rule[]>();
  const opaque = new Set<string>();
  for (const { rule } of all) {
    if (!rule) continue;
    const key = `${keyOf(rule)} ${rule.chain}`;
    const expr: Json[] = Array.isArray(rule.expr) ? rule.expr : [];
    if (expr.some((part) => "xt" in part)) opaque.add(keyOf(rule));
    rules.set(key, [...rules.get(key) ?? [], ...readRule(expr)]);
  }
  const chains = all.flatMap(({ chain }): Chain[] => {
    const families = chain && FAMILIES[chain.family];
    if (!families) return [];
    const { name, type, hook, policy } = chain;
    return [{
      table: keyOf(chain),
      name,
      families,
      hook: hook ? { kind: type, at: hook } : null,
      policy: policy === "drop" ? "drop" : "accept",
      rules: rules.get(`${keyOf(chain)} ${name}`) ?? [],
    }];
  });
  const tables = all.flatMap(({ table }) =>
    table ? [`${table.family} ${table.name}`] : []
  );
  return { chains, tables, opaque: [...opaque] };
}

/** A rule of ours for each verdict that a rule of theirs may come to. */
function readRule(expr: readonly Json[]): Rule[] {
  const matches: ((probe: Probe) => Match)[] = [];
  const all = (probe: Probe, last: Match = "yes") =>
    matches.reduce((so, match) => both(so, match(probe)), last);
  for (const part of expr) {
    const [kind] = Object.keys(part);
    const value = part[kind!];
    if (kind === "match") {
      matches.push((probe) => compare(value, probe));
    } else if (kind === "vmap") {
      const entries: Json[] = value.data?.set ?? [];
      if (!Array.isArray(entries) || entries.length === 0) {
        return [{ match: (probe) => all(probe, "maybe"), action: UNKNOWN }];
      }
      return entries.filter(Array.isArray).map(([key, verdict]) => ({
        match: (probe) =>
          all(probe, compare({ op: "==", left: value.key, right: key }, probe)),
        action: readAction(verdict) ?? UNKNOWN,
      }));
    } else if (kind === "dnat" && value?.addr?.map) {
      const { key, data } = value.addr.map;
      const entries: Json[] = Array.isArray(data?.set) ? data.set : [];
      // A map that has a name: its elements are not in the listing.
      if (entries.length === 0) return [];
      return entries.filter(Array.isArray).map(([one, addr]) => ({
        match: (probe) =>
          all(probe, compare({ op: "==", left: key, right: one }, probe)),
        action: { do: "dnat", to: target({ addr, port: value.port }) },
      }));
    } else if (MAYBE.includes(kind!) || isOpaque(kind!, value)) {
      matches.push(() => "maybe");
    } else {
      const action = readAction(part);
      if (action) return [{ match: (probe) => all(probe), action }];
    }
  }
  return [];
}

const UNKNOWN: Action = { do: "unknown" };

/** Statements that let only some packets on to the next one. */
const MAYBE = ["limit", "quota", "ct count"];

function isOpaque(kind: string, value: Json): boolean {
  return kind === "xt" && value?.type !== "target";
}

function readAction(part: Json): Action | null {
  const [kind] = Object.keys(part ?? {});
  switch (kind) {
    case "accept":
    case "drop":
    case "return":
      return { do: kind };
    case "reject":
      return { do: "drop" };
    case "jump":
    case "goto":
      return { do: kind, chain: String(part[kind].target) };
    case "dnat":
      return { do: "dnat", to: target(part.dnat) };
    case "xt":
    case "queue":
      return UNKNOWN;
    default:
      return null;
  }
}

function target(statement: Json): string {
  const { addr, port } = statement ?? {};
  const host = typeof addr === "string" ? addr : "another address";
  return typeof port === "number" ? `${host}:${port}` : host;
}

/** Whether a probe meets a condition. */
function compare({ op, left, right }: Json, probe: Probe): Match {
  // From outside: not over the loopback, and else over any interface.
  if (/^iif(name)?$/.test(left?.meta?.key) && right === "lo") {
    return op === "!=" ? "yes" : "no";
  }
  const value = valueOf(left, probe);
  if (value === undefined) return "maybe";
  const is = (one: Json): Match => {
    if (value === NOTHING) return "no";
    if (Array.isArray(one)) return any(one.map(is));
    if (one?.set) return any(one.set.map(is));
    if (one?.elem) return is(one.elem.val);
    if (one?.range) {
      const [first, last] = one.range;
      if (typeof value !== "number") return "maybe";
      return value >= first && value <= last ? "yes" : "no";
    }
    if (typeof one === "string" && one.startsWith("@")) return "maybe";
    if (typeof one === "object") return "maybe";
    return one === value ? "yes" : "no";
  };
  switch (op) {
    case "==":
    case "in":
      return is(right);
    case "!=":
      return not(is(right));
    case "<":
    case ">":
    case "<=":
    case ">=":
      if (typeof value !== "number" || typeof right !== "number") {
        return "maybe";
      }
      return ORDER[op as keyof typeof ORDER](value, right) ? "yes" : "no";
    default:
      return "maybe";
  }
}

const ORDER = {
  "<": (a: number, b: number) => a < b,
  ">": (a: number, b: number) => a > b,
  "<=": (a: number, b: number) => a <= b,
  ">=": (a: number, b: number) => a >= b,
} as const;

function any(all: readonly Match[]): Match {
  if (all.includes("yes")) return "yes";
  return all.includes("maybe") ? "maybe" : "no";
}

function not(match: Match): Match {
  return match === "maybe" ? match : match === "yes" ? "no" : "yes";
}

/** What a probe has in this place; undefined: that is not known. */
function valueOf(left: Json, probe: Probe): string | number | undefined {
  const { payload, meta, ct, fib, concat } = left ?? {};
  const { protocol, family, port } = probe;
  if (Array.isArray(concat)) {
    return concat.some((part) => valueOf(part, probe) === NOTHING)
      ? NOTHING
      : undefined;
  }
  if (payload) {
    if (payload.field === "dport") {
      if (payload.protocol === protocol || payload.protocol === "th") {
        return port;
      }
      return NOTHING;
    }
    if (payload.protocol === "ip" && payload.field === "protocol") {
      return family === 4 ? protocol : NOTHING;
    }
    if (payload.protocol === "ip6" && payload.field === "nexthdr") {
      return family === 6 ? protocol : NOTHING;
    }
    if (payload.protocol === "ip" && family !== 4) return NOTHING;
    if (payload.protocol === "ip6" && family !== 6) return NOTHING;
    return /^icmp/.test(payload.protocol) ? NOTHING : undefined;
  }
  switch (meta?.key) {
    case "l4proto":
      return protocol;
    case "nfproto":
    case "protocol":
      return meta.key === "nfproto"
        ? family === 4 ? "ipv4" : "ipv6"
        : family === 4
        ? "ip"
        : "ip6";
  }
  if (ct?.key === "state") return "new";
  if (ct?.key === "status") return NOTHING;
  if (fib?.result === "type") return "local";
  return undefined;
}

/** The packet has no such thing, so it is in no set. */
const NOTHING = "";
