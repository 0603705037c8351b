/** Connections: one after the other, and of many addresses at once. */

import { beginConnect, close, connected } from "../native.ts";
import {
  clientAddress,
  type Connections,
  type Interleaved,
  type Openness,
  type ProbeOrder,
  REPLY_US,
} from "./orders.ts";

/** Time for a thousand connections at once, less than a SYN is sent again. */
const CONNECT_ALL_MS = 600;

/** Connects and closes, for so long. */
export function connectOften(
  order: Extract<ProbeOrder, { do: "connect" }>,
): Connections {
  const { source, target, port, forMs } = order;
  const startMs = performance.now();
  let count = 0;
  let elapsedMs = 0;
  while (elapsedMs < forMs) {
    const socket = beginConnect(source, target, port);
    if (connected([socket], REPLY_US).length > 0) count++;
    close(socket);
    elapsedMs = performance.now() - startMs;
  }
  return { perSecond: count / elapsedMs * 1000 };
}

/** A SYN that got no answer for so long has got none. */
const SHUT_US = 2000;

/** Connects again and again; the times for which that worked. */
export function watch(
  order: Extract<ProbeOrder, { do: "watch" }>,
): Openness {
  const { source, target, port, forMs } = order;
  const endMs = performance.now() + forMs;
  const openMs: number[] = [];
  let attempts = 0;
  let shutMs = performance.now();
  let wasOpen = false;
  while (performance.now() < endMs) {
    const nowMs = performance.now();
    const socket = beginConnect(source, target, port);
    const isOpen = connected([socket], SHUT_US).length > 0;
    close(socket);
    attempts++;
    if (isOpen) wasOpen = true;
    else {
      if (wasOpen) openMs.push(nowMs - shutMs);
      wasOpen = false;
      shutMs = nowMs;
    }
  }
  return { openMs, attempts };
}

/** Hits the ports of a sequence from all addresses in turns, and connects from all. */
export async function interleave(
  order: Extract<ProbeOrder, { do: "interleave" }>,
): Promise<Interleaved> {
  const { from, count, target, hits, port, settleMs } = order;
  const sources = Array.from(
    { length: count },
    (_, index) => clientAddress(from + index),
  );
  for (const hit of hits) {
    for (const source of sources) close(beginConnect(source, target, hit));
  }
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const streams = sources.map((source) => beginConnect(source, target, port));
  await new Promise((resolve) => setTimeout(resolve, CONNECT_ALL_MS));
  const open = connected(streams, 0).length;
  streams.forEach(close);
  return { open };
}
