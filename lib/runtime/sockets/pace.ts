/**
 * Lets everything else have its turn while datagrams come. Bun hands them out
 * for as long as there are more: under a flood that is for all of its time,
 * and no timer, no firewall and no signal comes in between.
 * @module
 */

import type { DatagramHandler, DatagramSource } from "../runtime.ts";

/** So long datagrams are handled before everything else has its turn. */
const SHARE_MS = 10;
/** What may wait for the next turn, bytes; more is dropped, as the system drops it. */
const MAX_WAITING = 1024 * 1024;
/** What a datagram takes besides its own bytes, about. */
const OVERHEAD = 512;

/** A clock, and what calls when everything else had its turn. */
export interface Turns {
  nowMs(): number;
  next(call: () => void): void;
}

/** A handler that is told datagrams in their order, and not for too long at once. */
export interface Paced {
  /** The bytes are the handler's from here on. */
  take(bytes: Uint8Array, source: DatagramSource): void;
  /** Forgets what waits. */
  stop(): void;
}

/** Makes a handler such that everything else has its turns. */
export function paced(handler: DatagramHandler, turns: Turns): Paced {
  let waiting: [bytes: Uint8Array, source: DatagramSource][] = [];
  let size = 0;
  let untilMs: number | null = null;
  let stopped = false;

  /** Whether this turn's share lasts; the first datagram begins it. */
  const goesOn = (): boolean => {
    const nowMs = turns.nowMs();
    if (untilMs === null) {
      untilMs = nowMs + SHARE_MS;
      turns.next(begin);
    }
    return nowMs < untilMs;
  };
  const begin = () => {
    untilMs = null;
    let done = 0;
    try {
      while (done < waiting.length && goesOn()) {
        const [bytes, source] = waiting[done++]!;
        size -= bytes.length + OVERHEAD;
        handler(bytes, source);
      }
    } finally {
      waiting = waiting.slice(done);
    }
  };
  return {
    take: (bytes, source) => {
      if (stopped) return;
      if (waiting.length === 0 && goesOn()) return handler(bytes, source);
      if (size + bytes.length + OVERHEAD > MAX_WAITING) return;
      size += bytes.length + OVERHEAD;
      waiting.push([bytes, source]);
    },
    stop: () => {
      stopped = true;
      waiting = [];
      size = 0;
    },
  };
}
