/**
 * Port sequences that the kernel judges by itself, as an nft script. Pure.
 *
 * Where a source is in the tree of sequences is which of the sets `seq_at4_1`,
 * `seq_at4_2`, … its address is in; it is in one at most. `seq_window4_5000`
 * holds it for the 5,000 ms from its first hit on. A hit that is not the next
 * one takes it out of all; so does, between the hits, a packet to a port at
 * which nothing listens, so that no scan in any order opens a thing.
 * @module
 */

import {
  FIRST_PACKET,
  formatHit,
  type Hit,
  type Sequence,
} from "../../../sequences/sequence.ts";
import { countPorts } from "../../../values/ports.ts";
import { FAMILIES, type Family, FirewallError, lines } from "../../firewall.ts";
import type { Nft } from "../library.ts";
import { chainRules, probeText, TABLE } from "../rules/sets.ts";
import {
  arriveChain,
  at,
  forgetName,
  growTree,
  hitChain,
  hitName,
  type Node,
  ONLY,
  PREFIX,
  seenName,
  SOURCE,
  syn,
  windowName,
} from "./chains.ts";

/** The chain that sees packets first, before the guarded ports are judged. */
const SEQUENCE_CHAIN = "sequences";

/** Before the chain that guards ports, which is at `mangle`. */
const PRIORITY = "mangle - 1";

/**
 * The most sources in a set at once. What a rule deletes counts until it is
 * swept, which is why that is done each second.
 */
const SET_SIZE = 262_144;
const SET_OPTIONS = `flags dynamic,timeout; size ${SET_SIZE}; gc-interval 1s`;

/** The most single ports that a sequence opens: one rule each. */
export const MAX_OPENED_PORTS = 64;

/** Why the kernel cannot judge a sequence; null when it can. */
export function whyNotInKernel(sequence: Sequence): string | null {
  const { flags, target, open } = sequence;
  if (flags.set !== FIRST_PACKET.set || flags.clear !== FIRST_PACKET.clear) {
    return "the kernel looks for the first packet of a connection only";
  }
  if (target !== null) return "the kernel takes hits to every address";
  return countPorts(open) > MAX_OPENED_PORTS
    ? `the kernel opens ${MAX_OPENED_PORTS} ports at most`
    : null;
}

/**
 * The rules of some sequences, to be loaded behind the ruleset of the guarded
 * ports, whose sets of grants they fill. What an older script has made is to
 * be cleared first, in the same transaction: {@linkcode clearSequencesText}.
 *
 * Where the kernel cannot tell at which ports something listens (nft_socket),
 * only the ports on either side of a hit's break a sequence: enough for scans
 * in order, not for all others.
 */
export function sequencesText(
  sequences: readonly Sequence[],
  seesSockets = true,
): string {
  if (sequences.length === 0) return "";
  const nodes = growTree(sequences);
  const windows = [...new Set(sequences.map(({ withinMs }) => withinMs))];
  const hits = [
    ...new Map(nodes.map(({ hit }) => [formatHit(hit), hit])).values(),
  ];
  const each = <T>(all: readonly T[], text: (one: T, to: Family) => string[]) =>
    all.flatMap((one) => FAMILIES.flatMap((family) => text(one, family)));
  return lines(
    `table ${TABLE} {`,
    ...each(
      nodes.filter(({ isInner }) => isInner),
      (node, family) => setText(at(node, family), `type ipv${family}_addr`),
    ),
    ...each(
      windows,
      (ms, family) => setText(windowName(ms, family), `type ipv${family}_addr`),
    ),
    ...FAMILIES.flatMap((family) =>
      setText(seenName(family), `typeof ${syn(family)}`)
    ),
    ...FAMILIES.flatMap((family) => forgetChain(nodes, windows, family)),
    // A chain that another one leads to must be there before it.
    ...each(
      [...nodes].reverse(),
      arriveChain,
    ),
    ...hits.flatMap((hit) => hitChain(hit, nodes)),
    ...elsewhereChain(hits, seesSockets),
    ...baseChain(hits, windows),
    `}`,
  );
}

/** The same as a script that may be loaded over itself, as a machine does at boot. */
export function bootText(sequences: readonly Sequence[]): string {
  const text = sequencesText(sequences);
  const chains = [...text.matchAll(/^ {2}chain (\w+) \{\n( {4}type .*\n)?/gm)];
  if (chains.length === 0) return "";
  return lines(
    `table ${TABLE} {`,
    ...chains.map(([, name, hook = ""]) => `  chain ${name} {\n${hook}  }`),
    `}`,
    ...chains.map(([, name]) => `flush chain ${TABLE} ${name}`),
  ) + text;
}

/** Deletes what sequences have made, as a listing of the table shows it. */
export function clearSequencesText(listing: string): string {
  const named = (kind: string) =>
    [...listing.matchAll(/^\s*(chain|set) (\w+) \{$/gm)]
      .filter(([, found, name]) =>
        found === kind &&
        (name === SEQUENCE_CHAIN || name!.startsWith(PREFIX))
      )
      .map(([, , name]) => `${kind} ${TABLE} ${name}`);
  return lines(
    ...named("chain").map((chain) => `flush ${chain}`),
    ...named("chain").map((chain) => `delete ${chain}`),
    ...named("set").map((set) => `delete ${set}`),
  );
}

function setText(name: string, type: string): string[] {
  return [`  set ${name} { ${type}; ${SET_OPTIONS}; }`];
}

/** Sources that no client has, whatever this machine's networks are. */
const NOBODYS4 = "0.0.0.0/8";
const NOBODYS6 = ["::/96", "fe80::/10", "::ffff:0:0/96", "::ffff:0:0:0/96"];

const ELSEWHERE = `${PREFIX}elsewhere`;

function forgetChain(
  nodes: readonly Node[],
  windows: readonly number[],
  family: Family,
): string[] {
  const sets = [
    ...nodes.filter(({ isInner }) => isInner).map((node) => at(node, family)),
    ...windows.map((ms) => windowName(ms, family)),
  ];
  const rules = sets.map((set) => `delete @${set} { ${SOURCE[family]} }`);
  return chainRules({ name: forgetName(family), rules });
}

/** Chain of a packet to any other port while its source is in a sequence. */
function elsewhereChain(hits: readonly Hit[], seesSockets: boolean): string[] {
  const rules = [
    // A port at which something listens is in honest use.
    seesSockets
      ? "socket wildcard { 0, 1 } return"
      : `meta l4proto . th dport != { ${besides(hits).join(", ")} } return`,
    ...FAMILIES.map((family) => `${ONLY[family]} jump ${forgetName(family)}`),
  ];
  return chainRules({ name: ELSEWHERE, rules });
}

/** The ports on either side of the hits'. */
function besides(hits: readonly Hit[]): string[] {
  const keys = hits.flatMap(({ protocol, port }) =>
    [port - 1, port + 1].filter((near) => near >= 1 && near <= 65535)
      .map((near) => `${protocol} . ${near}`)
  );
  return [...new Set(keys)];
}

function baseChain(
  hits: readonly Hit[],
  windows: readonly number[],
): string[] {
  const ways = hits.map((hit) =>
    `${hit.protocol} . ${hit.port} : goto ${hitName(hit)}`
  );
  const rules = [
    `type filter hook prerouting priority ${PRIORITY}; policy accept;`,
    "ct state established accept",
    "iif lo accept",
    // Those that only pass through this machine are for others.
    "fib daddr type != { local, broadcast, anycast, multicast } accept",
    // Addresses that no client has; the kernel itself would open for them.
    "fib saddr type { local, broadcast, anycast, multicast } accept",
    `ip saddr ${NOBODYS4} accept`,
    `ip6 saddr { ${NOBODYS6.join(", ")} } accept`,
    "meta l4proto != { tcp, udp } accept",
    "tcp flags & (fin | syn | rst | ack) != syn accept",
    `meta l4proto . th dport vmap { ${ways.join(", ")} }`,
    ...windows.flatMap((ms) =>
      FAMILIES.map((family) =>
        `${SOURCE[family]} @${windowName(ms, family)} goto ${ELSEWHERE}`
      )
    ),
  ];
  return chainRules({ name: SEQUENCE_CHAIN, rules });
}

/** Fails where the kernel cannot tell at which ports something listens (nft_socket). */
const SOCKET_PROBE = probeText("socket wildcard { 0, 1 } return");

export type NftSequences = ReturnType<typeof nftSequences>;

/** The sequences in the kernel; `hasTable`: the rules are in our own table, as in mode guard. */
export function nftSequences(nft: Nft, hasTable: boolean) {
  /** Null = none were ever set. */
  let all: readonly Sequence[] | null = null;
  /** Null = not tried yet. */
  let seesSockets: boolean | null = null;
  return {
    /** Takes these for all that are to be judged. */
    set(sequences: readonly Sequence[]): void {
      all = sequences;
    },

    /** The script that adds them; "" = none. Throws FirewallError in mode accept. */
    async text(): Promise<string> {
      const sequences = all ?? [];
      if (sequences.length === 0) return "";
      if (!hasTable) {
        throw new FirewallError(
          "the kernel judges sequences in mode guard only",
          "watch: sniff, or firewall: { mode: guard }",
        );
      }
      seesSockets ??= await nft.run(SOCKET_PROBE)
        .then(() => true, () => false);
      return sequencesText(sequences, seesSockets);
    },

    /** The script that deletes those in a listing of our table; null = there is no table. */
    clear(own: string | null): string {
      return own === null || !all ? "" : clearSequencesText(own);
    },
  };
}
