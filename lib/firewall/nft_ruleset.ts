/**
 * The ruleset of the nft backend, as text. Pure. Everything that is ours is
 * in one table; a grant is an element of one of its sets, with a timeout, so
 * that the kernel ends it by itself.
 * @module
 */

import { formatPortRange, type PortRange } from "../values/ports.ts";
import type { Guarded } from "./firewall.ts";

/** The table that all of ours is in. */
export const TABLE = "inet knock";

/** The chain that drops what is not granted. */
export const CHAIN = "guard";

/**
 * The comment by which a table is known as ours. Needs nft 0.9.7 and Linux
 * 5.10; it must never change, or an older server's table is refused.
 */
export const OWNER = "made by knock";

/** Before the host's own input chains, which are at `filter` = 0. */
const PRIORITY = "filter - 10";

/**
 * The most elements of a set. Given explicitly: the kernel takes 65,535 for
 * sets that a rule changes, and a rule that finds its set full ends there.
 */
const SET_SIZE = 1_000_000;
const ONCE_SIZE = 65_535;

/** What a set of grants holds: single ports, ranges, or single-use ports. */
export type SetKind = "allow" | "range" | "once";

export const SET_KINDS: readonly SetKind[] = ["allow", "range", "once"];

/** 4 for IPv4, 6 for IPv6. */
export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** A set's name: `allow4`. */
export function setName(kind: SetKind, family: Family): string {
  return `${kind}${family}`;
}

const SET_OPTIONS: Readonly<Record<SetKind, string>> = {
  allow: `flags timeout; size ${SET_SIZE}`,
  range: `flags interval,timeout; size ${SET_SIZE}`,
  once: `flags dynamic,timeout; size ${ONCE_SIZE}`,
};

/** The table's type for an address, and how a rule names a packet's source. */
const ADDRESS: Readonly<Record<Family, { type: string; source: string }>> = {
  4: { type: "ipv4_addr", source: "ip saddr" },
  6: { type: "ipv6_addr", source: "ip6 saddr" },
};

/**
 * The whole ruleset as one nft script, without grants. It may be loaded over
 * itself: the rules are replaced in one transaction, and the sets keep what
 * is in them. Also what a machine loads at boot.
 */
export function rulesetText(services: readonly Guarded[]): string {
  const each = (line: (kind: SetKind, family: Family) => string) =>
    SET_KINDS.flatMap((kind) => FAMILIES.map((family) => line(kind, family)));
  return lines(
    `table ${TABLE} {`,
    `  comment "${OWNER}"`,
    `  chain ${CHAIN} {`,
    `    type filter hook input priority ${PRIORITY}; policy accept;`,
    `  }`,
    `}`,
    `flush chain ${TABLE} ${CHAIN}`,
    `table ${TABLE} {`,
    ...each(setText),
    `  chain ${CHAIN} {`,
    `    ct state established,related accept`,
    `    iif lo accept`,
    ...each(allowRule),
    ...dropRule(services),
    `  }`,
    `}`,
  );
}

/** Empties the sets of grants, but those whose use only the kernel knows of. */
export function flushText(): string {
  return lines(
    ...(["allow", "range"] as const).flatMap((kind) =>
      FAMILIES.map((family) => `flush set ${TABLE} ${setName(kind, family)}`)
    ),
  );
}

/**
 * Makes the table anew, in the same transaction as what follows it. Only for
 * a table of ours whose sets or chain are not as they should be.
 */
export function renewText(): string {
  return lines(`table ${TABLE}`, `delete table ${TABLE}`);
}

/** Deletes the table. */
export function removeText(): string {
  return lines(`delete table ${TABLE}`);
}

/** Ports without overlaps, in order: what one set of intervals can hold. */
export function mergePorts(ports: readonly PortRange[]): PortRange[] {
  const sorted = [...ports].sort((a, b) =>
    a.protocol < b.protocol
      ? -1
      : a.protocol > b.protocol
      ? 1
      : a.first - b.first
  );
  const merged: PortRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (
      before?.protocol === range.protocol && range.first <= before.last + 1
    ) {
      const last = Math.max(before.last, range.last);
      merged[merged.length - 1] = { ...before, last };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** Ports as a key of a set: `tcp . 22`, `udp . 8000-8010`. */
export function portsKey(ports: PortRange): string {
  return formatPortRange(ports).replace("/", " . ");
}

/** Lines, ended. */
export function lines(...all: readonly string[]): string {
  return all.map((line) => line + "\n").join("");
}

function setText(kind: SetKind, family: Family): string {
  const { type } = ADDRESS[family];
  return `  set ${setName(kind, family)} { ` +
    `type ${type} . inet_proto . inet_service; ${SET_OPTIONS[kind]}; }`;
}

function allowRule(kind: SetKind, family: Family): string {
  const key = `${ADDRESS[family].source} . meta l4proto . th dport`;
  const set = `@${setName(kind, family)}`;
  // The kernel itself takes a single-use grant away with its first packet, so
  // that a neighbour behind the same address cannot follow.
  const use = kind === "once" ? ` delete ${set} { ${key} }` : "";
  return `    ${key} ${set}${use} accept`;
}

function dropRule(services: readonly Guarded[]): string[] {
  const ports = mergePorts(services.flatMap((service) => service.ports));
  // An empty set in a rule is an error.
  if (ports.length === 0) return [];
  const keys = ports.map(portsKey).join(", ");
  return [`    meta l4proto . th dport { ${keys} } counter drop`];
}
