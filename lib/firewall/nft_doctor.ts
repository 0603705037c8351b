/**
 * Whether the rules of mode accept are ever asked: whether the host's own
 * input chain jumps to ours, and before it drops. Pure.
 * @module
 */

import { FirewallError } from "./firewall.ts";
import { formatHostChain, type HostChain } from "./nft_chain.ts";

/** A chain as `nft -j list ruleset` shows it. */
export interface ListedChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** Null: only other chains lead to it. */
  readonly hook: string | null;
  readonly type: string | null;
  readonly policy: string | null;
  /** The statements of each rule. */
  readonly rules: readonly (readonly Statement[])[];
}

type Statement = Readonly<Record<string, unknown>>;

/** What is wrong, and the cure. */
export interface Problem {
  readonly text: string;
  readonly hint: string;
}

/** How the host comes to our chain: the chains that it passes, or why not. */
export type Jump =
  | { readonly ok: true; readonly path: readonly ListedChain[] }
  | { readonly ok: false; readonly problem: Problem };

/** Deeper than any ruleset that a kernel takes. */
const MAX_DEPTH = 32;

/** Reads `nft -j list ruleset`; throws FirewallError when it is no such thing. */
export function readChains(json: string): ListedChain[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw new FirewallError(
      "nft: its listing is no JSON",
      "an nft that is built with JSON support",
    );
  }
  const all = (parsed as { nftables?: unknown }).nftables;
  const chains = new Map<string, ListedChain & { rules: Statement[][] }>();
  const key = (of: Statement, name: unknown) =>
    `${of.family} ${of.table} ${name}`;
  for (const entry of Array.isArray(all) ? all as Statement[] : []) {
    const chain = entry.chain as Statement | undefined;
    const rule = entry.rule as Statement | undefined;
    if (chain) {
      chains.set(key(chain, chain.name), {
        family: String(chain.family),
        table: String(chain.table),
        name: String(chain.name),
        hook: wordOf(chain.hook),
        type: wordOf(chain.type),
        policy: wordOf(chain.policy),
        rules: [],
      });
    } else if (rule && Array.isArray(rule.expr)) {
      chains.get(key(rule, rule.chain))?.rules.push(rule.expr as Statement[]);
    }
  }
  return [...chains.values()];
}

/**
 * How the host's rules come to our chain. Not at all, or only behind a rule
 * that drops everything: then nothing that is opened is open.
 */
export function findJump(
  chains: readonly ListedChain[],
  host: HostChain,
): Jump {
  const ours = formatHostChain(host);
  const { family, table, chain } = host;
  const bases = inputChains(chains).filter((base) =>
    base.family === family && base.table === table
  );
  let late: ListedChain | null = null;
  for (const base of bases) {
    const walked = walk(base, chains, chain, []);
    if (walked.path) return { ok: true, path: walked.path };
    if (mentions(base, chains, chain, 0)) late ??= base;
  }
  if (late) {
    return {
      ok: false,
      problem: {
        text:
          `chain ${late.name} of table ${family} ${table} drops everything ` +
          `before it jumps to ${ours}`,
        hint: `nft insert rule ${family} ${table} ${late.name} jump ${chain}`,
      },
    };
  }
  const [base] = bases;
  return {
    ok: false,
    problem: {
      text: `the host's chain does not jump to ${ours}`,
      hint: base
        ? `before its last drop: nft add rule ${family} ${table} ${base.name} jump ${chain}`
        : `table ${family} ${table} has no input chain: firewall.chain must be ` +
          `in the host's own table`,
    },
  };
}

/**
 * Chains of other tables that drop all new connections, whatever ours accept:
 * an accept in one table does not undo a drop in another.
 */
export function findDrops(
  chains: readonly ListedChain[],
  host: HostChain,
): Problem[] {
  const { family, table, chain } = host;
  const families = family === "inet" ? ["inet", "ip", "ip6"] : [family, "inet"];
  return inputChains(chains).filter((base) =>
    families.includes(base.family) &&
    !(base.family === family && base.table === table &&
      mentions(base, chains, chain, 0))
  ).filter((base) => {
    const { ends } = walk(base, chains, null, []);
    const drops = ends === "drop" || (ends === null && base.policy === "drop");
    return drops && !acceptsNew(base, chains, 0);
  }).map((base) => ({
    text:
      `chain ${base.name} of table ${base.family} ${base.table} drops every ` +
      `new connection, whatever ${formatHostChain(host)} accepts`,
    hint: `firewall.chain may be a chain of that table: "${base.family} ` +
      `${base.table} ${chain}"`,
  }));
}

interface Walked {
  /** The chains up to the jump; null when it is not come to. */
  readonly path: ListedChain[] | null;
  /** What a packet that meets no condition comes to; null = the end of the chain. */
  readonly ends: "accept" | "drop" | null;
}

function walk(
  at: ListedChain,
  chains: readonly ListedChain[],
  wanted: string | null,
  above: readonly ListedChain[],
): Walked {
  const path = [...above, at];
  if (path.length > MAX_DEPTH) return { path: null, ends: null };
  for (const rule of at.rules) {
    const always = isUnconditional(rule);
    for (const { verdict, target } of verdictsOf(rule)) {
      if (target !== null) {
        if (target === wanted) return { path, ends: null };
        const next = chainNamed(chains, at, target);
        if (!next) continue;
        const walked = walk(next, chains, wanted, path);
        if (walked.path) return walked;
        if (always && walked.ends) return walked;
        // What is gone to does not come back.
        if (always && verdict === "goto") return { path: null, ends: null };
      } else if (always) {
        if (verdict === "return") return { path: null, ends: null };
        return { path: null, ends: verdict === "accept" ? "accept" : "drop" };
      }
    }
  }
  return { path: null, ends: null };
}

/** Whether some rule, wherever it stands, leads to a chain. */
function mentions(
  at: ListedChain,
  chains: readonly ListedChain[],
  wanted: string,
  depth: number,
): boolean {
  if (depth > MAX_DEPTH) return false;
  return at.rules.some((rule) =>
    verdictsOf(rule).some(({ target }) => {
      if (target === wanted) return true;
      const next = target === null ? null : chainNamed(chains, at, target);
      return next !== null && mentions(next, chains, wanted, depth + 1);
    })
  );
}

/** Whether some rule may accept a new connection from outside. */
function acceptsNew(
  at: ListedChain,
  chains: readonly ListedChain[],
  depth: number,
): boolean {
  if (depth > MAX_DEPTH) return true;
  return at.rules.some((rule) =>
    !isForOthers(rule) &&
    verdictsOf(rule).some(({ verdict, target }) => {
      if (target === null) return verdict === "accept";
      const next = chainNamed(chains, at, target);
      return next === null || acceptsNew(next, chains, depth + 1);
    })
  );
}

interface Verdict {
  readonly verdict: "accept" | "drop" | "return" | "jump" | "goto";
  /** The chain that it leads to. */
  readonly target: string | null;
}

/** All verdicts of a rule, those in maps too. */
function verdictsOf(value: unknown): Verdict[] {
  if (Array.isArray(value)) return value.flatMap(verdictsOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]): Verdict[] => {
    switch (key) {
      case "accept":
      case "drop":
      case "return":
        return [{ verdict: key, target: null }];
      case "reject":
        return [{ verdict: "drop", target: null }];
      // What xtables or a program decides is not shown: it may accept.
      case "xt":
      case "queue":
        return [{ verdict: "accept", target: null }];
      case "jump":
      case "goto":
        return [{ verdict: key, target: wordOf((inner as Statement).target) }];
      case "vmap":
        return verdictsOf((inner as Statement).data);
      case "set":
        return verdictsOf(inner);
      default:
        return [];
    }
  });
}

/** Statements that a rule goes on behind in any case. */
const PASSING = new Set(["counter", "log", "mangle", "notrack"]);
const VERDICTS = new Set([
  "accept",
  "drop",
  "reject",
  "return",
  "jump",
  "goto",
]);

function isUnconditional(rule: readonly Statement[]): boolean {
  return rule.every((statement) =>
    Object.keys(statement).every((key) => PASSING.has(key) || VERDICTS.has(key))
  );
}

/** Whether a rule is for what is no new connection: established ones, loopback, ICMP. */
function isForOthers(rule: readonly Statement[]): boolean {
  return rule.some(({ match }) => {
    const { op, left, right } = (match ?? {}) as Statement;
    const words = JSON.stringify(right ?? null);
    const { ct, meta, payload } = (left ?? {}) as Record<string, Statement>;
    if (op === "!=") return false;
    if (ct?.key === "state" || ct?.key === "status") return !/new/.test(words);
    if (meta?.key === "iifname" || meta?.key === "iif") return words === '"lo"';
    if (meta?.key === "l4proto" || payload?.field === "nexthdr") {
      return !/tcp|udp|\b6\b|\b17\b/.test(words);
    }
    return payload?.field === "protocol"
      ? !/tcp|udp|\b6\b|\b17\b/.test(words)
      : /^icmp/.test(String(payload?.protocol));
  });
}

function inputChains(chains: readonly ListedChain[]): ListedChain[] {
  return chains.filter(({ hook, type, family }) =>
    hook === "input" && type === "filter" &&
    ["inet", "ip", "ip6"].includes(family)
  );
}

function chainNamed(
  chains: readonly ListedChain[],
  { family, table }: ListedChain,
  name: string,
): ListedChain | null {
  return chains.find((chain) =>
    chain.family === family && chain.table === table && chain.name === name
  ) ?? null;
}

function wordOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
