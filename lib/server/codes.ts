/** One-time codes: how many wrong ones a client may try, and each right one once. */

import { STEP_MS } from "../dialects/one_time_code.ts";
import { type Rate, RateCap } from "./rate.ts";
import { codeIdentity, type Replay } from "./replay.ts";

/**
 * Wrong one-time codes of a client, or nobody would have to know the right
 * one: RFC 4226 §7.3.
 */
const WRONG_CODES: Rate = { perSecond: 1 / 60, burst: 5 };

/** What became of the clients' one-time codes. */
export class Codes {
  readonly #replay: Replay;
  readonly #wrong = new RateCap(WRONG_CODES);

  constructor(replay: Replay) {
    this.#replay = replay;
  }

  /** Whether a client may try one more. */
  mayTry(client: string, nowMs: number): boolean {
    return this.#wrong.has(client, nowMs);
  }

  /** Counts a wrong one. */
  noteWrong(client: string, nowMs: number): void {
    this.#wrong.take(client, nowMs);
  }

  /**
   * Uses up the code of a 30 s step; false when it was used before. That is
   * recorded as long as it could come again, with a stamp from the step before
   * the code's to the one after it. Throws SystemError.
   */
  use(client: string, step: number, maxSkewMs: number, nowMs: number): boolean {
    const untilMs = nowMs + 2 * maxSkewMs + 3 * STEP_MS;
    return this.#replay.record(codeIdentity(client, step), untilMs);
  }
}
