/**
 * The client's side of the measurements: one JSON order a line on standard
 * input, one answer a line on standard output. It blocks while it measures.
 *
 * A service that was shut answers no SYN, and a client's own next one comes a
 * second later. So connections are begun with a new socket each, one every
 * {@linkcode ATTEMPT_US}, until one is there: what is measured is when the
 * door opens, to within that.
 * @module
 */

import { createInterface } from "node:readline";
import process from "node:process";
import { parseEnrolment } from "../lib/client/enrolment.ts";
import { sealKnock } from "../lib/dialects/knock1.ts";
import {
  beginConnect,
  close,
  connected,
  openDatagram,
  receive,
  send,
} from "./native.ts";

const ATTEMPT_US = 100;
/** A SYN that got no answer for so many attempts has got none. */
const MAX_PENDING = 40;
/** So long a service must stay silent before a round to count as shut. */
const SHUT_US = 2000;
/** Packets of a fill between two replies, which are its flow control. */
const FILL_WINDOW = 64;
const FILL_SOURCES = 250;
/** Time for a thousand connections at once, less than a SYN is sent again. */
const CONNECT_ALL_MS = 600;
const REPLY_US = 2_000_000;

/** What opens: a datagram (base64), or the first packet of a connection. */
export type Trigger =
  | { readonly udp: string; readonly port: number }
  | { readonly tcp: number };

export type ProbeOrder =
  /** Sends the triggers, and connects until it does; measured from the last trigger on. */
  | {
    readonly do: "open";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly triggers: readonly Trigger[];
    readonly timeoutMs: number;
    /** Sends the triggers again after each of these, if it is still shut. */
    readonly againMs?: readonly number[];
    /** Sent instead, one after the other, on each further try. */
    readonly retries?: readonly (readonly Trigger[])[];
  }
  /** Sends a packet, waits for its reply, and then connects once. */
  | {
    readonly do: "reply";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly trigger: Extract<Trigger, { udp: string }>;
  }
  /** Opens a port for so many addresses from a first one on, by valid knocks. */
  | {
    readonly do: "fill";
    readonly enrolment: string;
    readonly from: number;
    readonly count: number;
    readonly port: number;
    readonly seconds: number;
  }
  /** Each of so many addresses makes its first hit, then each its second, …; then all connect. */
  | {
    readonly do: "interleave";
    readonly from: number;
    readonly count: number;
    readonly target: string;
    readonly hits: readonly number[];
    readonly port: number;
    /** Between the last hit and the connections. */
    readonly settleMs: number;
  }
  /** Connects and closes for so long. */
  | {
    readonly do: "connect";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly forMs: number;
  };

/** How a round went; null: not in time. */
export interface Opened {
  /** Whether it was shut before. */
  readonly wasShut: boolean;
  readonly ms: number | null;
  readonly replyMs?: number | null;
  /** Triggers were sent so many times. */
  readonly tries?: number;
}

/** How many of the knocks of a fill had their reply where one was wanted. */
export interface Filled {
  readonly ms: number;
  readonly answered: number;
  readonly asked: number;
}

/** How many addresses were let in. */
export interface Interleaved {
  readonly open: number;
}

export interface Connections {
  readonly perSecond: number;
}

/** The address with this number in 10.96.0.0/12, which is the client's. */
export function clientAddress(index: number): string {
  const address = (10 << 24 | 96 << 16) + index;
  return [24, 16, 8, 0].map((shift) => address >>> shift & 255).join(".");
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

function open(order: Extract<ProbeOrder, { do: "open" }>): Opened {
  const { source, target, port, triggers, timeoutMs } = order;
  const wasShut = isShut(source, target, port);
  const againMs = [...order.againMs ?? []];
  const retries = [...order.retries ?? []];
  const fired: number[] = [];
  let pending: number[] = [];
  let tries = 1;
  for (const trigger of triggers.slice(0, -1)) {
    fire(source, target, trigger, fired);
  }
  // The last one's socket is made before: what is timed is the packet.
  const last = triggers.at(-1)!;
  const socket = "udp" in last ? openDatagram(source, target, last.port) : null;
  const bytes = "udp" in last ? Uint8Array.fromBase64(last.udp) : null;
  const startMs = performance.now();
  if (socket !== null) send(socket, bytes!);
  else fire(source, target, last, fired);
  let ms: number | null = null;
  while (ms === null) {
    const elapsed = performance.now() - startMs;
    if (elapsed > timeoutMs) break;
    if (againMs.length > 0 && elapsed > againMs[0]!) {
      againMs.shift();
      tries++;
      const next = retries.shift() ?? triggers;
      for (const trigger of next) fire(source, target, trigger, fired);
    }
    pending.push(beginConnect(source, target, port));
    if (pending.length > MAX_PENDING) close(pending.shift()!);
    if (connected(pending, ATTEMPT_US).length > 0) {
      ms = performance.now() - startMs;
    }
  }
  for (const one of [...pending, ...fired]) close(one);
  if (socket !== null) close(socket);
  pending = [];
  return { wasShut, ms, tries };
}

function openByReply(order: Extract<ProbeOrder, { do: "reply" }>): Opened {
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

function fill(order: Extract<ProbeOrder, { do: "fill" }>): Filled {
  const { enrolment, from, count, port, seconds } = order;
  const { server, key, psk, host, port: knockPort } = parseEnrolment(enrolment);
  // A server lets each source cost it only so much.
  const sockets = Array.from(
    { length: FILL_SOURCES },
    (_, index) => openDatagram(clientAddress(0x10000 + index), host, knockPort),
  );
  const startMs = performance.now();
  let answered = 0;
  let asked = 0;
  for (let index = 0; index < count; index++) {
    const wantsReply = index % FILL_WINDOW === FILL_WINDOW - 1 ||
      index === count - 1;
    const { packet } = sealKnock(
      {
        server,
        key: key!,
        psk,
        ephemeral: crypto.getRandomValues(new Uint8Array(32)),
      },
      {
        action: "open",
        ports: [{ protocol: "tcp", first: port, last: port }],
        command: null,
        seconds,
        address: clientAddress(from + index),
        code: null,
        wantsReply,
      },
      Date.now(),
    );
    const socket = sockets[index % FILL_SOURCES]!;
    send(socket, packet);
    if (!wantsReply) continue;
    asked++;
    if (receive(socket, REPLY_US)) answered++;
  }
  sockets.forEach(close);
  return { ms: performance.now() - startMs, answered, asked };
}

function connectOften(
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

async function interleave(
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

function follow(
  order: ProbeOrder,
): Opened | Filled | Connections | Promise<Interleaved> {
  switch (order.do) {
    case "interleave":
      return interleave(order);
    case "open":
      return open(order);
    case "reply":
      return openByReply(order);
    case "fill":
      return fill(order);
    case "connect":
      return connectOften(order);
  }
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as ProbeOrder & { id: number };
    const answer = { id: order.id, ...await follow(order) };
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}
