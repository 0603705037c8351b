/**
 * Measures how long an opening takes. A service that was shut answers no SYN,
 * and a client's own next one comes a second later. So connections are begun
 * with a new socket each, one every {@linkcode ATTEMPT_US}, until one is there:
 * the moment of opening is known to within that.
 *
 * @module
 */

import {
  beginConnect,
  close,
  connected,
  openDatagram,
  receive,
  send,
} from "../native.ts";
import {
  type Opened,
  type ProbeOrder,
  REPLY_US,
  type Trigger,
} from "./orders.ts";

const ATTEMPT_US = 100;
/** A SYN that got no answer for so many attempts has got none. */
const MAX_PENDING = 40;
/** So long a service must stay silent before a round to count as shut. */
const SHUT_US = 2000;

/** Sends what opens, and connects until it is open. */
export function open(order: Extract<ProbeOrder, { do: "open" }>): Opened {
  const { source, target, port, triggers, timeoutMs } = order;
  const { from = source, at = target } = order;
  const wasShut = isShut(source, target, port);
  const againMs = [...order.againMs ?? []];
  const retries = [...order.retries ?? []];
  const fired: number[] = [];
  const pending: number[] = [];
  let tries = 1;
  for (const trigger of triggers.slice(0, -1)) {
    fire(from, at, trigger, fired);
  }
  // The last one's socket is made before: what is timed is the packet.
  const last = triggers.at(-1)!;
  const socket = "udp" in last ? openDatagram(from, at, last.port) : null;
  const bytes = "udp" in last ? Uint8Array.fromBase64(last.udp) : null;
  const startMs = performance.now();
  if (socket !== null) send(socket, bytes!);
  else fire(from, at, last, fired);
  let ms: number | null = null;
  while (ms === null) {
    const elapsed = performance.now() - startMs;
    if (elapsed > timeoutMs) break;
    if (againMs.length > 0 && elapsed > againMs[0]!) {
      againMs.shift();
      tries++;
      const next = retries.shift() ?? triggers;
      for (const trigger of next) fire(from, at, trigger, fired);
    }
    pending.push(beginConnect(source, target, port));
    if (pending.length > MAX_PENDING) close(pending.shift()!);
    if (connected(pending, ATTEMPT_US).length > 0) {
      ms = performance.now() - startMs;
    }
  }
  for (const one of [...pending, ...fired]) close(one);
  if (socket !== null) close(socket);
  return { wasShut, ms, tries };
}

/** Sends what opens, waits for the reply, and connects once. */
export function openByReply(
  order: Extract<ProbeOrder, { do: "reply" }>,
): Opened {
  const { source, target, port, trigger } = order;
  const wasShut = isShut(source, target, port);
  const bytes = Uint8Array.fromBase64(trigger.udp);
  const socket = openDatagram(source, target, trigger.port);
  const startMs = performance.now();
  send(socket, bytes);
  const reply = receive(socket, REPLY_US);
  const replyMs = reply && performance.now() - startMs;
  const stream = beginConnect(source, target, port);
  const there = connected([stream], REPLY_US).length > 0;
  const ms = there ? performance.now() - startMs : null;
  close(stream);
  close(socket);
  return { wasShut, ms, replyMs };
}

function fire(
  source: string,
  target: string,
  trigger: Trigger,
  opened: number[],
): void {
  if ("tcp" in trigger) {
    opened.push(beginConnect(source, target, trigger.tcp));
    return;
  }
  const socket = openDatagram(source, target, trigger.port);
  opened.push(socket);
  send(socket, Uint8Array.fromBase64(trigger.udp));
}

function isShut(source: string, target: string, port: number): boolean {
  const socket = beginConnect(source, target, port);
  const shut = connected([socket], SHUT_US).length === 0;
  close(socket);
  return shut;
}
