/** The one reader of `nft -j list ruleset` (libnftables-json(5)). Pure. */

import { FAMILIES as BOTH, type Family } from "../../firewall.ts";
import {
  both,
  type FilterChain,
  type HostRule,
  type HostRules,
  type Match,
  type Probe,
  type RuleAction,
} from "../model.ts";
import { formatRule } from "./text.ts";
import { ALL, compare, is, type Json, type Named } from "./match.ts";

/** A ruleset of nftables, and what else must be asked to read all of it. */
export interface NftRules extends Omit<HostRules, "local"> {
  /** Tables with rules whose parts only iptables can print. */
  readonly opaque: readonly string[];
  /** Sets and maps of ports that rules use: "set inet filter ports". */
  readonly lists: readonly string[];
}

/** Elements of named sets and maps, by their {@linkcode NftRules.lists} entry. */
type Elements = ReadonlyMap<string, readonly Json[]>;

const FAMILIES: Readonly<Record<string, readonly Family[]>> = {
  ip: [4],
  ip6: [6],
  inet: BOTH,
  netdev: BOTH,
};

/** Reads the JSON, but for the rules of a chain to skip; null if it is none. */
export function parseNftJson(
  text: string,
  elements: Elements = new Map(),
  skip: string | null = null,
): NftRules | null {
  const all = listed(text);
  if (!all) return null;
  const keyOf = ({ family, table }: Json) => `${family} ${table}`;
  const rules = new Map<string, HostRule[]>();
  const opaque = new Set<string>();
  const lists = new Map<string, string>();
  for (const entry of all) {
    const kind = entry.set ? "set" : "map";
    const named = entry[kind];
    if (named && isOfPorts(named)) {
      lists.set(`${keyOf(named)} ${named.name}`, kind);
    }
  }
  for (const { rule } of all) {
    if (!rule || rule.chain === skip) continue;
    const key = `${keyOf(rule)} ${rule.chain}`;
    const expr: Json[] = Array.isArray(rule.expr) ? rule.expr : [];
    if (expr.some((part) => "xt" in part)) opaque.add(keyOf(rule));
    const named = (name: string): readonly Json[] | null => {
      const list = `${keyOf(rule)} ${name.slice(1)}`;
      return elements.get(`${lists.get(list)} ${list}`) ?? null;
    };
    const own = rules.get(key);
    if (own) own.push(...readRule(expr, named));
    else rules.set(key, readRule(expr, named));
  }
  const chains = all.flatMap(({ chain }): FilterChain[] => {
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
  return {
    chains,
    tables,
    opaque: [...opaque],
    lists: [...lists].map(([name, kind]) => `${kind} ${name}`),
  };
}

/** Elements of the one set or map that `nft -j list set …` prints; null if they cannot be read. */
export function parseElements(text: string): readonly Json[] | null {
  for (const entry of listed(text) ?? []) {
    const { elem } = entry.set ?? entry.map ?? {};
    if (Array.isArray(elem)) return elem;
  }
  return null;
}

function listed(text: string): Json[] | null {
  try {
    const all = JSON.parse(text).nftables;
    return Array.isArray(all) ? all : null;
  } catch {
    return null;
  }
}

/** True if the elements can decide: ports and protocols that do not expire. */
function isOfPorts({ type, flags }: Json): boolean {
  const types = Array.isArray(type) ? type : [type];
  const changes = [flags].flat().some((flag) =>
    flag === "timeout" || flag === "dynamic"
  );
  return !changes && types.includes("inet_service") &&
    types.every((one) => ["inet_service", "inet_proto"].includes(one));
}

/** A rule of the model for each decision that a rule of nftables may come to. */
function readRule(expr: readonly Json[], named: Named): HostRule[] {
  const matches: ((probe: Probe) => Match)[] = [];
  const text = formatRule(expr);
  const all = (probe: Probe, last: Match = "yes") =>
    matches.reduce((so, match) => both(so, match(probe)), last);
  const each = (
    key: Json,
    data: Json,
    act: (value: Json) => RuleAction,
  ): HostRule[] => {
    const entries = entriesOf(data, named);
    if (entries === null) {
      return [{ match: (probe) => all(probe, "maybe"), action: UNKNOWN, text }];
    }
    const last = (entry: Json) => elementOf(entry[0]) === ALL ? 1 : 0;
    const sorted = entries.filter(Array.isArray)
      .toSorted((a, b) => last(a) - last(b));
    return sorted.map(([one, value]) => ({
      match: (probe) => all(probe, is(key, elementOf(one), probe, named)),
      action: act(value),
      text,
    }));
  };
  for (const part of expr) {
    const [kind] = Object.keys(part ?? {});
    const value = part?.[kind!];
    const translation = kind === "dnat" && value?.addr?.map;
    if (kind === "match") {
      matches.push((probe) => compare(value, probe, named));
    } else if (kind === "vmap") {
      return each(value?.key, value?.data, (to) => readAction(to) ?? UNKNOWN);
    } else if (translation) {
      return each(
        translation.key,
        translation.data,
        (addr) => ({ do: "dnat", to: target({ addr, port: value.port }) }),
      ).map((rule) =>
        rule.action === UNKNOWN
          ? { ...rule, action: { do: "dnat", to: ELSEWHERE } }
          : rule
      );
    } else if (kind === "xt" && !value?.type) {
      // Not even whether it is a condition or a verdict of iptables.
      return [{ match: (probe) => all(probe, "maybe"), action: UNKNOWN, text }];
    } else if (isConditional(kind!, value)) {
      matches.push(() => "maybe");
    } else {
      const action = readAction(part);
      if (action) return [{ match: (probe) => all(probe), action, text }];
    }
  }
  return [];
}

const UNKNOWN: RuleAction = { do: "unknown" };

/** Where a map leads whose elements are not known. */
export const ELSEWHERE = "elsewhere";

/** Statements after which a rule goes on in any case. */
const PASSING: readonly string[] = [
  ...["counter", "last", "log", "mangle", "notrack", "flow", "dup"],
  ...["ct helper", "ct timeout", "ct expectation", "secmark", "tproxy"],
];

/** True if a statement lets only some packets on to the next one. */
function isConditional(kind: string, value: Json): boolean {
  if (PASSING.includes(kind)) return false;
  if (kind === "set" || kind === "map") {
    // A limit for each element of a set that fills itself.
    return Array.isArray(value?.stmt) && value.stmt.length > 0;
  }
  return kind === "xt" ? value?.type !== "target" : !VERDICTS.includes(kind);
}

/** Statements that end a rule. */
const VERDICTS: readonly string[] = [
  ...["accept", "drop", "return", "reject", "jump", "goto", "continue"],
  ...["dnat", "redirect", "snat", "masquerade", "queue", "xt"],
];

function readAction(part: Json): RuleAction | null {
  const [kind] = Object.keys(part ?? {});
  switch (kind) {
    case "accept":
    case "drop":
    case "return":
      return { do: kind };
    case "reject":
      return { do: "drop" };
    case "continue":
      return { do: "pass" };
    case "jump":
    case "goto":
      return { do: kind, chain: String(part[kind]?.target) };
    case "dnat":
      return { do: "dnat", to: target(part.dnat) };
    case "redirect": {
      const port = part.redirect?.port;
      return { do: kind, port: typeof port === "number" ? port : null };
    }
    case "xt":
    case "queue":
      return UNKNOWN;
    default:
      return null;
  }
}

function target(statement: Json): string {
  const { addr, port } = statement ?? {};
  if (typeof addr !== "string") return ELSEWHERE;
  if (typeof port !== "number") return addr;
  return addr.includes(":") ? `[${addr}]:${port}` : `${addr}:${port}`;
}

/** Entries of a map, in the rule or by name; null = not known. */
function entriesOf(data: Json, named: Named): readonly Json[] | null {
  if (typeof data === "string") return named(data);
  return Array.isArray(data?.set) && data.set.length > 0 ? data.set : null;
}

function elementOf(one: Json): Json {
  return one?.elem?.val ?? one;
}
