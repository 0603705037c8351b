/** Names and words of the rules of sequences. Pure. */

import type { Family } from "../../family.ts";
import type { Hit } from "../../../sequences/sequence.ts";
import type { Node } from "./tree.ts";

/** What the names of all other chains and sets of the sequences begin with. */
export const PREFIX = "seq_";

/** How a rule names a packet's source. */
export const SOURCE: Readonly<Record<Family, string>> = {
  4: "ip saddr",
  6: "ip6 saddr",
};

/** Only packets of one family. */
export const ONLY: Readonly<Record<Family, string>> = {
  4: "meta nfproto ipv4",
  6: "meta nfproto ipv6",
};

/** The set of the sources that are at a node. */
export function at({ id }: Node, family: Family): string {
  return `${PREFIX}at${family}_${id}`;
}

/** The set of the sources that began less than so long ago. */
export function windowName(ms: number, family: Family): string {
  return `${PREFIX}window${family}_${ms}`;
}

/** The set of the TCP hits that were right, for their retransmissions. */
export function seenName(family: Family): string {
  return `${PREFIX}seen${family}`;
}

/** The chain that takes a source out of every set. */
export function forgetName(family: Family): string {
  return `${PREFIX}forget${family}`;
}

/** The chain of a right hit. */
export function arriveName({ id }: Node, family: Family): string {
  return `${PREFIX}arrive${family}_${id}`;
}

/** The chain of a port. */
export function hitName({ protocol, port }: Hit): string {
  return `${PREFIX}${protocol}_${port}`;
}

/** What the first packet of a connection and its retransmissions have alike. */
export function syn(family: Family): string {
  return `${SOURCE[family]} . tcp sport . tcp sequence`;
}

/** A chain with its rules, as lines of a table. */
export function chainText(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), `  }`];
}
