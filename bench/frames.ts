/**
 * Frames made inside the kernel, in the namespace that it runs in: orders by
 * JSON, one a line. They leave by eth0 of this namespace, on the processor that
 * this script is pinned to, which then receives them at the other end, too.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers";
import { assemble, exit, set } from "../lib/firewall/xdp/assembler.ts";
import { Bpf } from "../lib/firewall/xdp/bpf.ts";
import { VERDICTS } from "../lib/firewall/xdp/program.ts";
import { makeFrames, receiveAsDriver } from "../tests/fakes/frames.ts";
import { runtime } from "../tests/fakes/runtime.ts";

/** Orders to the script. */
export type FramesOrder =
  /** Has eth0 of this namespace receive frames as a driver does: by generic receive offload. */
  | { readonly do: "receive" }
  /** Drops all that comes in by eth0 at once; with false, no more. */
  | { readonly do: "drop"; readonly on: boolean }
  /** Makes so many frames; the answer has the time. */
  | { readonly do: "make"; readonly frame: string; readonly count: number }
  /** Makes frames until told to stop; 0 a second: as many as there go. */
  | {
    readonly do: "flood";
    readonly frame: string;
    readonly perSecond: number;
  }
  | { readonly do: "stop" };

export interface FramesAnswer {
  readonly ms: number;
  readonly count: number;
}

/** Sends a frame back by the interface that it came in by. linux/bpf.h. */
const XDP_TX = 3;
/** As many as the cable's end has room for. */
const BATCH = 64;
/** Each call takes 30 ms besides: so many frames in one, or so many a second. */
const SHARE = 1_000_000;
const SHARES_PER_SECOND = 20;

class Frames {
  readonly #bpf: Bpf;
  readonly #send: number;
  readonly #index: number;
  #dropping: number | null = null;
  #flooding: Promise<FramesAnswer> | null = null;
  #isStopped = false;

  constructor(bpf: Bpf) {
    this.#bpf = bpf;
    this.#send = bpf.load(assemble([set(0, XDP_TX), exit]));
    this.#index = bpf.indexOf("eth0");
  }

  async take(order: FramesOrder): Promise<FramesAnswer | null> {
    switch (order.do) {
      case "receive":
        await receiveAsDriver(runtime);
        return null;
      case "drop":
        this.#drop(order.on);
        return null;
      case "make": {
        const start = performance.now();
        this.#make(order.frame, order.count);
        return { ms: performance.now() - start, count: order.count };
      }
      case "flood":
        this.#isStopped = false;
        this.#flooding = this.#flood(order.frame, order.perSecond);
        return null;
      case "stop":
        this.#isStopped = true;
        return await this.#flooding;
    }
  }

  #make(frame: string, count: number): void {
    makeFrames(this.#bpf, this.#send, Uint8Array.fromHex(frame), {
      index: this.#index,
      count,
      batch: BATCH,
    });
  }

  async #flood(frame: string, perSecond: number): Promise<FramesAnswer> {
    const start = performance.now();
    const share = perSecond === 0
      ? SHARE
      : Math.ceil(perSecond / SHARES_PER_SECOND);
    let count = 0;
    while (!this.#isStopped) {
      const ms = performance.now() - start;
      if (perSecond === 0 || count < perSecond * ms / 1000) {
        this.#make(frame, share);
        count += share;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { ms: performance.now() - start, count };
  }

  #drop(on: boolean): void {
    if (this.#dropping !== null) this.#bpf.close(this.#dropping);
    this.#dropping = null;
    if (!on) return;
    const program = this.#bpf.load(assemble([set(0, VERDICTS.drop), exit]));
    this.#dropping = this.#bpf.attach(program, this.#index, "native");
    this.#bpf.close(program);
  }
}

if (import.meta.main) {
  const frames = new Frames(await Bpf.open(runtime));
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, ...order } = JSON.parse(line) as FramesOrder & { id: number };
    const answer = await frames.take(order as FramesOrder)
      .catch((error) => ({ error: (error as Error).message }));
    process.stdout.write(JSON.stringify({ id, ...answer }) + "\n");
  }
}
