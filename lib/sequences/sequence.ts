/**
 * Port sequences: a secret sent in the clear, so a filter against noise, not
 * authentication.
 * @module
 */

import type { PortRange, Protocol } from "../values/ports.ts";

/** One knock of a sequence. */
export interface Hit {
  /** Protocol of the packet. */
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
}

/** True if the ports only rise, so that the simplest scan of them is the sequence. */
export function isAscending(hits: readonly Hit[]): boolean {
  return hits.length > 1 &&
    hits.every(({ port }, index) =>
      index === 0 || port > hits[index - 1]!.port
    );
}

/** Most hits of a sequence, as in knockd. */
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

/** Name of a TCP flag, as in {@linkcode FLAG}. */
export type FlagName = keyof typeof FLAG;

/** Filter for the TCP packets that count as hits, in bits of {@linkcode FLAG}. */
export interface Flags {
  /** Bits that must be set. */
  readonly set: number;
  /** Bits that must be clear. */
  readonly clear: number;
}

/** Default filter: the first packet of a connection. */
export const FIRST_PACKET: Flags = {
  set: FLAG.syn,
  clear: FLAG.ack | FLAG.rst | FLAG.fin,
};

/** Effect of a complete sequence. */
export type SequenceAction = "open" | "close";

/** One order of hits and its effect; an entry with `close` makes two of them. */
export interface Sequence {
  /** Key under `sequences` in server.yaml. */
  readonly name: string;
  /** Effect when complete. */
  readonly action: SequenceAction;
  /** 1 to {@linkcode MAX_HITS}. */
  readonly hits: readonly Hit[];
  /** From the first hit to the last, milliseconds. */
  readonly withinMs: number;
  /** Ports to open or close. */
  readonly open: readonly PortRange[];
  /** Length of the grant, seconds. */
  readonly forSeconds: number;
  /** True if the grant ends with the first new connection that uses it. */
  readonly once: boolean;
  /** TCP packets that count as hits. */
  readonly flags: Flags;
  /** Address that hits must be sent to, canonical; null = any. */
  readonly target: string | null;
}

/** Name under which the grants of a sequence are kept, in place of a client's. */
export function grantee(name: string): string {
  return `sequence ${name}`;
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
