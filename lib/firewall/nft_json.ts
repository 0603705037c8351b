/** The host's chains, as nft lists them in JSON. Pure. */

import { FirewallError } from "./firewall.ts";

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

/** One statement of a rule: its name and what it says. */
export type Statement = Readonly<Record<string, unknown>>;

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

/** The chains that all packets to this machine come to. */
export function inputChains(chains: readonly ListedChain[]): ListedChain[] {
  return chains.filter(({ hook, type, family }) =>
    hook === "input" && type === "filter" &&
    ["inet", "ip", "ip6"].includes(family)
  );
}

/** The chain that a rule of another one of its table names; null = there is none. */
export function chainNamed(
  chains: readonly ListedChain[],
  { family, table }: ListedChain,
  name: string,
): ListedChain | null {
  return chains.find((chain) =>
    chain.family === family && chain.table === table && chain.name === name
  ) ?? null;
}

/** A word of a listing; null = it says something else, or nothing. */
export function wordOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
