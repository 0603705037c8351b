/** What is done when the clock was set: time that is left stays left, and nobody gains any. */

import type { Runtime } from "../runtime/runtime.ts";
import { type Clocks, ClockWatch } from "./clock.ts";
import type { Keeper } from "./grants/keeper.ts";
import type { Log } from "./report/log.ts";
import type { Store } from "./state/store.ts";
import { attempt } from "./report/trouble.ts";

/** What goes along with the clock. */
export interface ClockJumpsParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly keeper: Keeper;
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
