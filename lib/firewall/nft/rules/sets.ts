/**
 * The sets that grants are elements of: their names, what they hold, and how
 * rules ask them. Pure.
 * @module
 */

import {
  formatPortRange,
  mergePorts,
  type PortRange,
} from "../../../values/ports.ts";
import { FAMILIES, type Family, lines, OWNER } from "../../firewall.ts";

/** The table that all of ours is in, but what mode accept must put elsewhere; never the host's. */
export const TABLE = "inet knock";

/**
 * Kind of the grants in a set: single ports, ranges, or single-use ports of
 * this machine; the same, single-use or not, of grants with a target of their
 * own; and the ports of this machine that such grants come out at.
 */
export type SetKind =
  | "allow"
  | "range"
  | "once"
  | "sent"
  | "sentonce"
  | "landed"
  | NetworkKind
  | "at"
  | `at${NetworkKind}`;

/**
 * Kind of the grants of networks of so many bits, IPv4's 16 to 31 and IPv6's 48
 * to 127. One set a length: networks of the same length never overlap, and a
 * set of intervals takes no others.
 */
type NetworkKind = `net${number}_`;

export function networkKind(bits: number): NetworkKind {
  return `net${bits}_`;
}

/** True for kinds whose sets hold intervals, which no rule may change. */
export function holdsIntervals(kind: SetKind): boolean {
  return kind === "range" || kind.startsWith("net") || isBehind(kind);
}

/** True for kinds that rules of this machine's own ports ask. */
export function isOwnKind(kind: SetKind): boolean {
  return OWN_KINDS.includes(kind) || kind.startsWith("net");
}

/** True for kinds whose elements name the host behind, too. */
export function isBehind(kind: SetKind): boolean {
  return kind.startsWith("at");
}

/** True unless a kind is of networks of the other family. */
export function isOfFamily(kind: SetKind, family: Family): boolean {
  const bits = /net(\d+)_$/.exec(kind)?.[1];
  return bits === undefined || (Number(bits) <= 32) === (family === 4);
}

/** Kinds that rules of this machine's own ports ask. */
export const OWN_KINDS: readonly SetKind[] = ["allow", "range", "once"];

/** Kinds whose elements a rule takes away when they are used. */
export const ONCE_KINDS: readonly SetKind[] = ["once", "sentonce"];

/** A table with sets of grants. */
export interface TablePlace {
  /** `inet knock`. */
  readonly table: string;
  /** Beginning of the sets' names. */
  readonly prefix: string;
  readonly families: readonly Family[];
  readonly kinds: readonly SetKind[];
}

export function ownPlace(kinds: readonly SetKind[]): TablePlace {
  return { table: TABLE, prefix: "", families: FAMILIES, kinds };
}

/** The table of the host's chain, in which our objects begin with the chain's name. */
export function hostPlace(
  host: HostChain,
  kinds: readonly SetKind[],
): TablePlace {
  const { family, chain } = host;
  const families = FAMILIES.filter((one) =>
    family === "inet" || family === ipWord(one)
  );
  return { table: hostTable(host), prefix: `${chain}_`, families, kinds };
}

/** A set's name: `allow4`. */
export function setName(kind: SetKind, family: Family, prefix = ""): string {
  return `${prefix}${kind}${family}`;
}

/** Writes a line for each set of a place, of the kinds that are meant. */
export function eachSet(
  place: TablePlace,
  line: (kind: SetKind, family: Family) => string,
  isMeant: (kind: SetKind) => boolean = () => true,
): string[] {
  return place.kinds.filter(isMeant).flatMap((kind) =>
    place.families.filter((family) => isOfFamily(kind, family))
      .map((family) => line(kind, family))
  );
}

export function setNames(
  place: TablePlace,
  isMeant?: (kind: SetKind) => boolean,
): string[] {
  const name = (kind: SetKind, family: Family) =>
    setName(kind, family, place.prefix);
  return eachSet(place, name, isMeant);
}

/**
 * The most elements of a set. Given explicitly: the kernel takes 65,535 for
 * sets that a rule changes, and a rule that finds its set full ends there.
 */
const SET_SIZE = 1_000_000;
const SMALL_SIZE = 65_535;

const SET_OPTIONS: Readonly<Partial<Record<SetKind, string>>> = {
  // Rules of sequences change it: the kernel calls such a set dynamic, and does
  // not take it for the same as one that is not.
  allow: `flags dynamic,timeout; size ${SET_SIZE}`,
  range: `flags interval,timeout; size ${SET_SIZE}`,
  once: `flags dynamic,timeout; size ${SMALL_SIZE}`,
  sent: `flags timeout; size ${SMALL_SIZE}`,
  sentonce: `flags dynamic,timeout; size ${SMALL_SIZE}`,
  landed: `flags timeout; size ${SMALL_SIZE}`,
};

export function setText(
  place: TablePlace,
  kind: SetKind,
  family: Family,
): string {
  // In a table of the host's, each set has our mark.
  const owner = place.prefix === "" ? "" : `; comment "${OWNER}"`;
  const options = SET_OPTIONS[kind] ?? SET_OPTIONS.range;
  return `  set ${setName(kind, family, place.prefix)} { ` +
    `type ${keyType(family, kind)}; ${options}${owner}; }`;
}

/** The map of where grants with a target of their own lead. */
export function mapText(family: Family): string {
  return `  map ${mapName(family)} { type ${keyType(family)} : ` +
    `ipv${family}_addr . inet_service; flags timeout; size ${SMALL_SIZE}; }`;
}

export function mapName(family: Family): string {
  return `target${family}`;
}

/** A family as rules name its header. */
export function ipWord(family: Family): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}

/** The expression that rules look up in the sets: source, protocol and port of a packet. */
export function packetKey(family: Family, kind?: SetKind): string {
  const ip = ipWord(family);
  const target = kind && isBehind(kind) ? ` . ${ip} daddr` : "";
  return `${ip} saddr . meta l4proto . th dport${target}`;
}

/** The condition that a packet's grant is in a set; a single-use one stays there. */
export function asked(
  place: TablePlace,
  kind: SetKind,
  family: Family,
): string {
  return `${packetKey(family, kind)} @${setName(kind, family, place.prefix)}`;
}

/** As {@linkcode asked}; a single-use grant is taken away by it. */
export function granted(
  place: TablePlace,
  kind: SetKind,
  family: Family,
): string {
  const found = asked(place, kind, family);
  if (!ONCE_KINDS.includes(kind)) return found;
  // The kernel itself takes it away with its first packet, so that a neighbour
  // behind the same address cannot follow.
  const set = `@${setName(kind, family, place.prefix)}`;
  return `${found} delete ${set} { ${packetKey(family)} }`;
}

/** A rule that lets pass what comes in by other interfaces than these; none where all count. */
export function elsewhere(interfaces: readonly string[]): string[] {
  if (interfaces.length === 0) return [];
  const names = interfaces.map((name) => `"${name}"`).join(", ");
  return [`iifname != { ${names} } accept`];
}

function keyType(family: Family, kind?: SetKind): string {
  const target = kind && isBehind(kind) ? ` . ipv${family}_addr` : "";
  return `ipv${family}_addr . inet_proto . inet_service${target}`;
}

/** Ports as a key of a set: `tcp . 22`, `udp . 8000-8010`. */
export function portsKey(ports: PortRange): string {
  return formatPortRange(ports).replace("/", " . ");
}

/** The condition that a packet is for one of these ports; there must be one. */
export function toPorts(ports: readonly PortRange[]): string {
  return `meta l4proto . th dport { ${
    mergePorts(ports).map(portsKey).join(", ")
  } }`;
}

/** A chain of the host, which mode accept puts its rules into, as its own rules name it. */
export interface HostChain {
  readonly family: "inet" | "ip" | "ip6";
  readonly table: string;
  readonly chain: string;
}

/** Default chain of mode accept. */
export const DEFAULT_CHAIN = "inet filter knock";

/** Longest name of a table or chain: those of our sets begin with it. */
const MAX_NAME = 64;

const NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** Reads "FAMILY TABLE CHAIN"; null if it is none, or would be in our own table. */
export function parseHostChain(text: string): HostChain | null {
  const [family, table, chain, ...rest] = text.trim().split(/\s+/);
  if (family !== "inet" && family !== "ip" && family !== "ip6") return null;
  if (!table || !chain || rest.length > 0) return null;
  if (![table, chain].every((name) => NAME.test(name))) return null;
  if (table.length > MAX_NAME || chain.length > MAX_NAME) return null;
  if (family === "inet" && table === "knock") return null;
  return { family, table, chain };
}

/** Writes what {@linkcode parseHostChain} reads. */
export function formatHostChain({ family, table, chain }: HostChain): string {
  return `${family} ${table} ${chain}`;
}

/** The table of a chain, as nft names it. */
export function hostTable({ family, table }: HostChain): string {
  return `${family} ${table}`;
}

/** A chain of our own table. */
export interface ChainText {
  readonly name: string;
  /** `type … hook … priority …; policy accept;`; null = other chains jump to it. */
  readonly hook: string | null;
  readonly rules: readonly string[];
}

/** The chain without its rules, as lines of its table. */
export function emptyChain({ name, hook }: ChainText): string[] {
  return chainRules({ name, rules: hook ? [hook] : [] });
}

/** The rules of a chain that is there, as lines of its table. */
export function chainRules({ name, rules }: Omit<ChainText, "hook">): string[] {
  return [
    `  chain ${name} {`,
    ...rules.map((rule) => `    ${rule}`),
    `  }`,
  ];
}

/** Makes a chain with this hook or rule and deletes it in one step: fails where the kernel or nft lacks it. */
export function probeText(...chain: readonly string[]): string {
  return lines(
    "table inet knock_probe {",
    ...chainRules({ name: "probe", rules: chain }),
    "}",
    "delete table inet knock_probe",
  );
}
