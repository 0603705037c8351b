/** Our part of `iptables -S`: the owner of a chain, and its rules. Pure. */

import { parseAddress } from "../../values/address.ts";
import { lines, OWNER } from "../firewall.ts";

/** End of the rule that marks a chain as ours. */
export const MARK = `-m comment --comment "${OWNER}"`;

/** Our part of `iptables -S`. */
export interface IptablesListing {
  /** The chain's rules, behind "-A CHAIN "; null when there is no such chain. */
  readonly rules: readonly string[] | null;
  /** True if the first rule of INPUT jumps to the chain. */
  readonly first: boolean;
  /** Count of the rules of INPUT that jump to the chain just as ours does. */
  readonly jumps: number;
  /** True if other rules jump to the chain, too. */
  readonly shared: boolean;
}

/** Reads what `iptables -S` lists. */
export function readListing(listing: string, chain: string): IptablesListing {
  const all = listing.split("\n");
  const input = all.filter((line) => line.startsWith("-A INPUT "));
  const jump = `-A INPUT -j ${chain}`;
  const own = `-A ${chain} `;
  return {
    rules: all.includes(`-N ${chain}`)
      ? all.filter((line) => line.startsWith(own))
        .map((line) => line.slice(own.length))
      : null,
    first: input[0] === jump,
    jumps: input.filter((line) => line === jump).length,
    shared: all.some((line) =>
      line !== jump && / -[jg] (\S+)/.exec(line)?.[1] === chain
    ),
  };
}

/** True if this program made the chain; one without rules is nobody's. */
export function isOurs({ rules }: IptablesListing): boolean {
  return rules?.some(isMark) ?? false;
}

/** The chains of ours in a listing, whatever their names. */
export function ourChains(listing: string): string[] {
  const found = listing.matchAll(/^-A (\S+) (.*)$/gm);
  return [
    ...new Set(
      [...found].filter(([, , rule]) => isMark(rule!))
        .map(([, chain]) => chain!),
    ),
  ];
}

/** A chain's rules in a form that can be compared. */
export interface Portrait {
  /** The grants' rules, in order. */
  readonly grants: string;
  /** The other rules, as they stand. */
  readonly others: string;
}

/** Reads a chain's rules: grants may be in any order, the others may not. */
export function portray(rules: readonly string[]): Portrait {
  const grants: string[] = [];
  const others: string[] = [];
  for (const rule of rules) {
    const match = GRANT_RULE.exec(rule);
    if (!match) {
      others.push(rule);
      continue;
    }
    const [, address, ...rest] = match;
    grants.push([parseAddress(address!), ...rest].join(" "));
  }
  return { grants: lines(...grants.sort()), others: lines(...others) };
}

// Between these words, versions of iptables differ in how they write a rule.
const GRANT_RULE =
  /^-s (\S+)\/(?:32|128) -p (tcp|udp) .*--dport (\S+) .*--comment "(knock (?:sequence )?\S+ until=\d+)".* -j (\w+)$/;

function isMark(rule: string): boolean {
  return rule.endsWith(MARK);
}
