/** Notices that the clock was set, by one that never jumps. */

import type { Runtime } from "../../runtime/runtime.ts";

/** Largest difference between two readings that does not mean a set clock, milliseconds. */
const TOLERANCE_MS = 1000;

/** A jump by less is an adjustment: it does not begin the wait for a settled clock anew. */
const SMALL_MS = 60_000;

/** A clock that was set is taken for right after so long: twice the longest `max_skew`. */
const SETTLED_MS = 48 * 60 * 60 * 1000;

/** Two clocks at one moment. */
interface Clocks {
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly monotonicMs: number;
}

/** Compares the clock with one that only measures. */
export class ClockWatch {
  #start: Clocks;
  /** When the clock was set last; null while that is settled. */
  #set: Clocks | null = null;
  #last: Clocks;

  constructor(start: Clocks) {
    this.#start = start;
    this.#last = start;
  }

  /**
   * By how many milliseconds the clock was set since what was noted last; 0
   * when it only went on. A machine that slept looks like one whose clock was
   * set forward.
   */
  look(now: Clocks): number {
    const jumpMs = (now.nowMs - this.#last.nowMs) -
      (now.monotonicMs - this.#last.monotonicMs);
    return Math.abs(jumpMs) < TOLERANCE_MS ? 0 : Math.round(jumpMs);
  }

  /** Takes the clock as it is set now. */
  note(now: Clocks): void {
    if (!this.#set || Math.abs(this.look(now)) >= SMALL_MS) this.#set = now;
    this.#last = now;
  }

  /**
   * The time that has surely been reached: what is forgotten by it does not
   * come back when the clock is set forward, and then back. Two days after it was
   * set, what was accepted before is too old either way: a machine that starts
   * in 1970 does not keep its records for ever.
   */
  surelyMs({ nowMs, monotonicMs }: Clocks): number {
    if (this.#set && monotonicMs - this.#set.monotonicMs >= SETTLED_MS) {
      this.#start = this.#set;
      this.#set = null;
    }
    const { nowMs: startMs, monotonicMs: zeroMs } = this.#start;
    return Math.min(nowMs, startMs + monotonicMs - zeroMs);
  }
}

/** Reads both clocks. */
export function clocksOf(runtime: Runtime): Clocks {
  return { nowMs: runtime.nowMs(), monotonicMs: runtime.monotonicMs() };
}
