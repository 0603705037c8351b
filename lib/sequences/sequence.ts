/**
 * What a port sequence is. It is a secret sent in the clear: a filter against
 * noise, not authentication.
 * @module
 */

import type { PortRange, Protocol } from "../values/ports.ts";

/** One knock of a sequence. */
export interface Hit {
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
}

/** The most hits of a sequence, as in knockd. */
export const MAX_HITS = 32;

/** Bits of a TCP header's flags (RFC 9293 §3.1). */
export const FLAG = {
  fin: 1,
  syn: 2,
  rst: 4,
  psh: 8,
  ack: 16,
  urg: 32,
} as const;

export type FlagName = keyof typeof FLAG;

/** Which TCP packets count as hits: all bits of `set`, none of `clear`. */
export interface Flags {
  readonly set: number;
  readonly clear: number;
}

/** What counts unless a sequence says otherwise: the first packet of a connection. */
export const FIRST_PACKET: Flags = {
  set: FLAG.syn,
  clear: FLAG.ack | FLAG.rst | FLAG.fin,
};

/** What a sequence does when it is complete. */
export type SequenceAction = "open" | "close";

/** One order of hits and what it does; a door with `close` is two of them. */
export interface Sequence {
  /** The door's key under `sequences`. */
  readonly name: string;
  readonly action: SequenceAction;
  /** 1 to {@linkcode MAX_HITS}. */
  readonly hits: readonly Hit[];
  /** From the first hit to the last, milliseconds. */
  readonly withinMs: number;
  /** What is opened or closed. */
  readonly open: readonly PortRange[];
  /** How long it stays open, seconds. */
  readonly forSeconds: number;
  /** Ends with the first new connection that uses it. */
  readonly once: boolean;
  readonly flags: Flags;
  /** Only hits to this address count, canonical; null = to any. */
  readonly target: string | null;
}

/** Under which name a door's grants stand where others have their client's. */
export function grantee(door: string): string {
  return `sequence ${door}`;
}

/** Reads `tcp/7000`, `7000/tcp`, `7000:udp` or `7000` (TCP); null if it is none. */
export function parseHit(text: string): Hit | null {
  const match = /^(?:(tcp|udp)\/(\d{1,5})|(\d{1,5})(?:[/:](tcp|udp))?)$/
    .exec(text);
  if (!match) return null;
  const port = Number(match[2] ?? match[3]);
  if (port < 1 || port > 65535) return null;
  return { protocol: (match[1] ?? match[4] ?? "tcp") as Protocol, port };
}

/** Writes a hit as `tcp/7000`. */
export function formatHit({ protocol, port }: Hit): string {
  return `${protocol}/${port}`;
}
