/** Our part of `iptables -S`: the owner of a chain, and its rules. Pure. */

import { formatPrefix, parsePrefix } from "../../values/address.ts";
import { lines, OWNER } from "../firewall.ts";

/** End of the rule that marks a chain as ours. */
export const MARK = `-m comment --comment "${OWNER}"`;

/** Our part of `iptables -S`. */
export interface IptablesListing {
  /** The chain's rules, behind "-A CHAIN "; null when there is no such chain. */
  readonly rules: readonly string[] | null;
  /** True if our jumps are the first rules of their chain. */
  readonly first: boolean;
  /** Rules that jump to the chain just as ours do, behind "-A ". */
  readonly jumps: readonly string[];
  /** Rules of OUTPUT that are ours, behind "-A ". */
  readonly cuts: readonly string[];
  /** True if other rules jump to the chain, too. */
  readonly shared: boolean;
}

/** Jumps as this program places them, or ever did, in either mode: behind "-A ". */
const OUR_JUMP =
  /^(?:INPUT|PREROUTING) (?:-m addrtype --dst-type [A-Z,]+ )?-j (\S+)$/;

/** Reads what `iptables -S` lists of a table. */
export function readListing(
  listing: string,
  { chain, jumps }: {
    readonly chain: string;
    readonly jumps: readonly string[];
  },
): IptablesListing {
  const all = listing.split("\n");
  const own = `${chain} `;
  const rules = all.filter((line) => line.startsWith("-A "))
    .map((line) => line.slice("-A ".length));
  const built = jumps[0]?.replace(/ .*/, " ") ?? "";
  const before = rules.filter((rule) => rule.startsWith(built));
  const leading = rules.filter((rule) =>
    / -[jg] (\S+)/.exec(rule)?.[1] === chain
  );
  const ours = leading.filter((rule) => OUR_JUMP.test(rule));
  return {
    rules: all.includes(`-N ${chain}`)
      ? rules.filter((rule) => rule.startsWith(own))
        .map((rule) => rule.slice(own.length))
      : null,
    first: jumps.every((jump, index) => before[index] === jump),
    jumps: ours,
    cuts: rules.filter((rule) =>
      rule.startsWith("OUTPUT ") && rule.endsWith(`${MARK} -j DROP`)
    ),
    shared: ours.length < leading.length,
  };
}

/** True if this program made the chain; one without rules is nobody's. */
export function isOurs({ rules }: IptablesListing): boolean {
  return rules?.some((rule) => rule.endsWith(MARK)) ?? false;
}

/** The chains of ours in a listing, whatever their names. */
export function ourChains(listing: string): string[] {
  const found = listing.matchAll(/^-A (\S+) (.*)$/gm);
  const ours = [...found].filter(([, , rule]) => rule!.endsWith(MARK));
  return [...new Set(ours.map(([, chain]) => chain!))];
}

/** A chain's rules in a form that can be compared: grants may be in any order, the others may not. */
export function portray(rules: readonly string[]) {
  const grants: string[] = [];
  const others: string[] = [];
  for (const rule of rules) {
    const match = GRANT_RULE.exec(rule);
    if (!match) {
      others.push(rule);
      continue;
    }
    const [, address, ...rest] = match;
    const source = parsePrefix(address!);
    grants.push([source && formatPrefix(source), ...rest].join(" "));
  }
  return { grants: lines(...grants.sort()), others: lines(...others) };
}

// Between these words, versions of iptables differ in how they write a rule.
const GRANT_RULE =
  /^-s (\S+\/\d+) -p (tcp|udp) .*--dport (\S+) .*--comment "(knock (?:sequence )?\S+ until=\d+)".* -j (\w+)$/;
