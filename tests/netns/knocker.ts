/**
 * Knocks from any of this namespace's addresses: one JSON order a line on
 * standard input, one answer a line on standard output. A hit by TCP is a
 * single SYN: a connection begun, and closed at once.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { SOCK_NONBLOCK, SOCK_STREAM } from "../../lib/sequences/send.ts";
import { parseHit } from "../../lib/sequences/sequence.ts";
import { AF_INET, AF_INET6, socketAddress } from "../../lib/values/address.ts";
import { runtime } from "../fakes/runtime.ts";

const SOCK_DGRAM = 2;

/** Each source makes its first hit, then each its second, and so on. */
export interface KnockOrder {
  readonly id?: number;
  readonly sources: readonly string[];
  readonly target: string;
  readonly hits: readonly string[];
  /** So many sources at a time, with a moment between; default: all at once. */
  readonly burst?: number;
  /** Between a source's hits; default 0. */
  readonly delayMs?: number;
  /** Then connects from the first source, and tells how long that took. */
  readonly connect?: number;
}

export interface Knocked {
  /** From the last hit until the connection was there; null when it never was. */
  readonly connectedMs: number | null;
  /** From before the first hit to after the last one. */
  readonly tookMs: number;
}

const CONNECT_MS = 5000;
const BURST_MS = 10;

const libc = await runtime.openLibrary("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
});

function hit(source: string, target: string, text: string): void {
  const { protocol, port } = parseHit(text)!;
  const family = source.includes(":") ? AF_INET6 : AF_INET;
  const kind = protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const socket = libc!.call("socket", family, kind | SOCK_NONBLOCK, 0);
  const from = socketAddress(source, 0);
  const to = socketAddress(target, port);
  libc!.call("bind", socket, from, from.length);
  libc!.call("connect", socket, to, to.length);
  if (protocol === "udp") libc!.call("send", socket, Uint8Array.of(0), 1, 0);
  libc!.call("close", socket);
}

async function take(order: KnockOrder): Promise<Knocked> {
  const { sources, target, hits, delayMs = 0, connect } = order;
  const burst = order.burst ?? sources.length;
  const firstMs = runtime.monotonicMs();
  for (const [index, text] of hits.entries()) {
    if (index > 0 && delayMs > 0) await runtime.sleep(delayMs);
    for (const [count, source] of sources.entries()) {
      if (count > 0 && count % burst === 0) await runtime.sleep(BURST_MS);
      hit(source, target, text);
    }
  }
  const startMs = runtime.monotonicMs();
  const tookMs = startMs - firstMs;
  if (connect === undefined) return { connectedMs: null, tookMs };
  try {
    const to = { host: target, port: connect };
    const stream = await runtime.connectStream(to, { timeoutMs: CONNECT_MS });
    const connectedMs = runtime.monotonicMs() - startMs;
    stream.close();
    return { connectedMs, tookMs };
  } catch {
    return { connectedMs: null, tookMs };
  }
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as KnockOrder;
    const answer = { id: order.id, ...await take(order) };
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
}
