/** Sequences as one tree of hits, and a chain for each: its name, what each port leads to, what a right hit does, and the log of it. Pure. */

import {
  formatHit,
  type Hit,
  type Sequence,
  type SequenceAction,
} from "../../../sequences/sequence.ts";
import { PROTOCOL_NUMBERS } from "../../../values/ports.ts";
import { FAMILIES, type Family } from "../../firewall.ts";
import { formatTimeout } from "../grants/elements.ts";
import { chainRules, setName } from "../rules/sets.ts";

/** A hit that was made in the right order; the root is none. */
export interface Node {
  /** 1, 2, … */
  readonly id: number;
  readonly hit: Hit;
  /** Null behind the root: a first hit. */
  readonly parent: Node | null;
  /** Count of the hits up to here, this one included. */
  readonly depth: number;
  /** True if there are hits behind it. */
  readonly isInner: boolean;
  readonly complete: readonly Sequence[];
  /** The times that sequences through here may take, ms, each once, longest first. */
  readonly withinMs: readonly number[];
}

/** The nodes of some sequences, parents before their children. */
export function growTree(sequences: readonly Sequence[]): Node[] {
  const found = new Map<string, Growing>();
  for (const sequence of sequences) {
    let parent: Growing | null = null;
    for (const hit of sequence.hits) {
      const key: string = `${parent?.id ?? 0} ${formatHit(hit)}`;
      const node: Growing = found.get(key) ?? {
        id: found.size + 1,
        hit,
        parent,
        depth: (parent?.depth ?? 0) + 1,
        isInner: false,
        complete: [],
        withinMs: [],
      };
      found.set(key, node);
      if (parent) parent.isInner = true;
      if (!node.withinMs.includes(sequence.withinMs)) {
        node.withinMs.push(sequence.withinMs);
        node.withinMs.sort((a, b) => b - a);
      }
      parent = node;
    }
    parent?.complete.push(sequence);
  }
  return [...found.values()];
}

interface Growing extends Node {
  readonly parent: Growing | null;
  isInner: boolean;
  readonly complete: Sequence[];
  readonly withinMs: number[];
}

/** The NFLOG group of completed sequences: `tcpdump -i nflog:62201` shows them. */
export const LOG_GROUP = 62_201;

/** Chain of a right hit. A rule whose set is full ends there: so each is short, and the last one drops. */
export function arriveChain(node: Node, family: Family): string[] {
  const source = SOURCE[family];
  const { parent, withinMs } = node;
  const put = (verb: string, set: string, key: string, ms = withinMs[0]!) =>
    `${verb} @${set} { ${key} timeout ${formatTimeout(ms)} }`;
  const rules: string[] = [];
  if (parent) rules.push(`delete @${at(parent, family)} { ${source} }`);
  if (node.hit.protocol === "tcp") {
    rules.push(put("update", seenName(family), syn(family)));
  }
  for (const ms of parent ? [] : withinMs) {
    rules.push(put("update", windowName(ms, family), source, ms));
  }
  if (node.isInner) rules.push(put("add", at(node, family), source));
  for (const sequence of node.complete) {
    const inTime = `${source} @${windowName(sequence.withinMs, family)} `;
    rules.push(
      ...completeRules(sequence, family).map((rule) => inTime + rule),
      `${inTime}log prefix "knock ${sequence.action} ${sequence.name}" ` +
        `group ${LOG_GROUP} queue-threshold 1`,
    );
  }
  const name = arriveName(node, family);
  return chainRules({ name, rules: [...rules, "counter drop"] });
}

function completeRules(sequence: Sequence, family: Family): string[] {
  const { action, open, once, forSeconds } = sequence;
  const timeout = formatTimeout(forSeconds * 1000);
  const rules: string[] = [];
  for (const { protocol, first, last } of open) {
    for (let port = first; port <= last; port++) {
      // By name, nft takes a protocol for the start of a match.
      const number = PROTOCOL_NUMBERS[protocol];
      const key = `${SOURCE[family]} . ${number} . ${port}`;
      if (action === "open") {
        const allow = setName(once ? "once" : "allow", family);
        rules.push(`update @${allow} { ${key} timeout ${timeout} }`);
      } else {
        rules.push(
          `delete @${setName("allow", family)} { ${key} }`,
          `delete @${setName("once", family)} { ${key} }`,
        );
      }
    }
  }
  return rules;
}

/** Chain of a packet to a port of a sequence. */
export function hitChain(hit: Hit, nodes: readonly Node[]): string[] {
  const here = nodes.filter((node) => formatHit(node.hit) === formatHit(hit))
    .sort((a, b) => b.depth - a.depth);
  const rules = hit.protocol === "tcp"
    ? FAMILIES.map((family) => `${syn(family)} @${seenName(family)} drop`)
    : [];
  for (const node of here) {
    const { parent } = node;
    if (!parent) continue;
    for (const family of FAMILIES) {
      const source = SOURCE[family];
      const inTime = windowName(node.withinMs[0]!, family);
      rules.push(
        `${source} @${at(parent, family)} ${source} @${inTime} ` +
          `goto ${arriveName(node, family)}`,
      );
    }
  }
  const first = here.find(({ parent }) => parent === null);
  for (const family of FAMILIES) {
    rules.push(`${ONLY[family]} jump ${forgetName(family)}`);
    if (first) rules.push(`${ONLY[family]} goto ${arriveName(first, family)}`);
  }
  return chainRules({ name: hitName(hit), rules: [...rules, "counter drop"] });
}

/** Beginning of the names of all other chains and sets of the sequences. */
export const PREFIX = "seq_";

/** Expression of a packet's source in a rule. */
export const SOURCE: Readonly<Record<Family, string>> = {
  4: "ip saddr",
  6: "ip6 saddr",
};

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
function arriveName({ id }: Node, family: Family): string {
  return `${PREFIX}arrive${family}_${id}`;
}

export function hitName({ protocol, port }: Hit): string {
  return `${PREFIX}${protocol}_${port}`;
}

/** Fields that the first packet of a connection and its retransmissions share. */
export function syn(family: Family): string {
  return `${SOURCE[family]} . tcp sport . tcp sequence`;
}

/** Reads what a rule has logged of a complete sequence; null when it is none of ours. */
export function readTold(
  prefix: string,
): Pick<Sequence, "action" | "name"> | null {
  const match = /^knock (open|close) ([\w.-]+)$/.exec(prefix);
  return match && {
    action: match[1] as SequenceAction,
    name: match[2]!,
  };
}
