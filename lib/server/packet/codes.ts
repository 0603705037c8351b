/** One-time codes: how many wrong ones a client may try, and each right one once. */

import { STEP_MS } from "../../dialects/codes.ts";
import { codeIdentity } from "../state/replay.ts";
import type { Store } from "../state/store.ts";

/** Wrong codes in a row without a delay. */
const FREE = 5;
/** The delay after them, which doubles with each further one (RFC 4226 §7.3). */
const FIRST_DELAY_MS = 60_000;
const MAX_DELAY_MS = 3_600_000;

/** A client's wrong codes since its last right one, and when the last of them came. */
interface Wrong {
  readonly count: number;
  readonly atMs: number;
}

/** What became of the clients' one-time codes; in the state, so that a restart forgives none. */
export class Codes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Whether a client may try one more. Throws SystemError. */
  mayTry(client: string, nowMs: number): boolean {
    const { count, atMs } = this.#wrongOf(client);
    // The clock was set back: the delay begins anew.
    if (atMs > nowMs) {
      this.#store.setFact(factOf(client), { count, atMs: nowMs });
    }
    return nowMs - Math.min(atMs, nowMs) >= delayMs(count);
  }

  /** Counts a wrong one. Throws SystemError. */
  noteWrong(client: string, nowMs: number): void {
    const { count } = this.#wrongOf(client);
    const wrong: Wrong = { count: count + 1, atMs: nowMs };
    this.#store.setFact(factOf(client), wrong);
  }

  /**
   * Uses up the code of a 30 s step; false when it was used before. That is
   * recorded as long as it could come again, with a stamp from the step before
   * the code's to the one after it. Throws SystemError.
   */
  use(client: string, step: number, maxSkewMs: number, nowMs: number): boolean {
    const untilMs = nowMs + 2 * maxSkewMs + 3 * STEP_MS;
    const { replay } = this.#store;
    if (!replay.record(codeIdentity(client, step), untilMs)) return false;
    if (this.#wrongOf(client).count > 0) {
      this.#store.setFact(factOf(client), NONE);
    }
    return true;
  }

  #wrongOf(client: string): Wrong {
    return this.#store.fact(factOf(client)) as Wrong | undefined ?? NONE;
  }
}

const NONE: Wrong = { count: 0, atMs: 0 };

function factOf(client: string): string {
  return `wrong codes of ${client}`;
}

/** How long a client waits after so many wrong codes in a row. */
export function delayMs(count: number): number {
  return count < FREE
    ? 0
    : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (count - FREE));
}
