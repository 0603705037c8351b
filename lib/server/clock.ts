import type { Runtime } from "../runtime/runtime.ts";
import type { Grants } from "./grants/grants.ts";
import type { Log } from "./report/log.ts";
import { attempt } from "./report/trouble.ts";
import type { Store } from "./state/store.ts";

/** Notices that the clock was set, by one that never jumps. Pure. */

/** Largest difference between two readings that does not mean a set clock, milliseconds. */
const TOLERANCE_MS = 1000;

/** A jump by less is an adjustment: it does not begin the wait for a settled clock anew. */
const SMALL_MS = 60_000;

/** A clock that was set is taken for right after so long: twice the longest `max_skew`. */
const SETTLED_MS = 48 * 60 * 60 * 1000;

/** Two clocks at one moment. */
export interface Clocks {
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

// What is done when the clock was set: time that is left stays left, and nobody gains any.

/** What goes along with the clock. */
export interface ClockJumpsParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly keeper: Grants;
}

/** Has ledger, replay and firewall go along with a clock that is set. */
export class ClockJumps {
  readonly #parts: ClockJumpsParts;
  readonly #watch: ClockWatch;

  constructor(parts: ClockJumpsParts) {
    this.#parts = parts;
    this.#watch = new ClockWatch(this.#clocks());
  }

  /** The time that has surely been reached. */
  surelyMs(): number {
    return this.#watch.surelyMs(this.#clocks());
  }

  /**
   * Keeps grants from living longer because the clock was set. Set back: what
   * is left of them stays. Set forward: they end by it, for a machine that
   * slept looks the same. Throws SystemError.
   */
  look(): void {
    const { store, log, keeper } = this.#parts;
    const clocks = this.#clocks();
    const jumpMs = this.#watch.look(clocks);
    if (jumpMs === 0) return;
    if (jumpMs < 0) store.ledger.shift(jumpMs);
    store.replay.shift(jumpMs);
    this.#watch.note(clocks);
    const seconds = Math.round(Math.abs(jumpMs) / 1000);
    const way = jumpMs < 0 ? "back" : "forward";
    log("warn", `the clock was set ${way} by ${seconds} s`);
    attempt(log, () => keeper.enqueue(() => keeper.apply()));
  }

  #clocks(): Clocks {
    const { runtime } = this.#parts;
    return { nowMs: runtime.nowMs(), monotonicMs: runtime.monotonicMs() };
  }
}
