/** A clock for tests: time stands still until it is stepped, or all wait. */

import type { Stoppable } from "../../lib/runtime/runtime.ts";

interface Timer {
  atMs: number;
  readonly everyMs: number;
  readonly callback: () => void;
}

/**
 * A clock whose time passes only by {@linkcode FakeClock.advance} or, when
 * `steps` is "alone", also by itself: as soon as the program does nothing but
 * wait for a `sleep`, the clock jumps to the next timer.
 */
export class FakeClock {
  #nowMs: number;
  readonly #startMs: number;
  readonly #alone: boolean;
  readonly #timers = new Set<Timer>();
  #pumping = false;

  constructor(nowMs: number, steps: "alone" | "by hand") {
    this.#nowMs = this.#startMs = nowMs;
    this.#alone = steps === "alone";
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** Milliseconds since the clock was made. */
  elapsedMs(): number {
    return this.#nowMs - this.#startMs;
  }

  /** Count of the waiting timers, repeated ones included. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Sets the clock without firing a timer, as an operator would. */
  set(nowMs: number): void {
    const jump = nowMs - this.#nowMs;
    for (const timer of this.#timers) timer.atMs += jump;
    this.#nowMs = nowMs;
  }

  /** Calls back once, after so many milliseconds. */
  after(ms: number, callback: () => void): Stoppable {
    const stoppable = this.#add(ms, 0, callback);
    if (this.#alone) this.#pump();
    return stoppable;
  }

  every(ms: number, callback: () => void): Stoppable {
    return this.#add(ms, Math.max(ms, 1), callback);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = this.after(ms, resolve);
      signal?.addEventListener("abort", () => {
        timer.stop();
        resolve();
      }, { once: true });
    });
  }

  /** Lets time pass and fires what is due, each at its own moment. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(); next && next.atMs <= endMs;) {
      this.#fire(next);
      await settle();
      next = this.#next();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
    await settle();
  }

  #add(ms: number, everyMs: number, callback: () => void): Stoppable {
    const timer = { atMs: this.#nowMs + Math.max(ms, 0), everyMs, callback };
    this.#timers.add(timer);
    return { stop: () => void this.#timers.delete(timer) };
  }

  #next(): Timer | undefined {
    return [...this.#timers].sort((a, b) => a.atMs - b.atMs)[0];
  }

  #fire(timer: Timer): void {
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    if (timer.everyMs > 0) timer.atMs += timer.everyMs;
    else this.#timers.delete(timer);
    timer.callback();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    await settle();
    // Repeated timers alone keep nothing alive, as in the real runtimes.
    while ([...this.#timers].some((timer) => timer.everyMs === 0)) {
      this.#fire(this.#next()!);
      await settle();
    }
    this.#pumping = false;
  }
}

/** Lets everything run that waits for no timer. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
