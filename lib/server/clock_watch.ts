/** Notices that the clock was set, by one that never jumps. Pure. */

/** What two looks may differ by without anybody having set the clock. */
const TOLERANCE_MS = 1000;

/** Two clocks at one moment. */
export interface Clocks {
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly monotonicMs: number;
}

/** Compares the clock with one that only measures. */
export class ClockWatch {
  readonly #start: Clocks;
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
    this.#last = now;
  }

  /**
   * The time that has surely been reached: what is forgotten by it does not
   * come back when the clock is set forward, and then back.
   */
  surelyMs({ nowMs, monotonicMs }: Clocks): number {
    const { nowMs: startMs, monotonicMs: zeroMs } = this.#start;
    return Math.min(nowMs, startMs + monotonicMs - zeroMs);
  }
}
