/** Keeping ports open: a knock again before each end, and when this machine's addresses change. */

import type { Answer } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { OperatorError } from "../../values/errors.ts";

/** The part of a grant after which it is renewed: time is left for retries. */
const RENEW_AFTER = 0.7;

/** Interval of checks of this machine's addresses, milliseconds. */
const LOOK_MS = 5000;

/** Pauses after a failure: the first, and the longest. */
const FIRST_PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 60_000;

/** Callbacks of keeping a port open. */
interface Keeping {
  /** Knocks once; throws OperatorError when it is not open then. Null: the server never answers. */
  readonly knock: () => Promise<Answer | null>;
  /** Requested seconds; they count where no answer has any. */
  readonly seconds: number;
  readonly opened: (answer: Answer | null, untilMs: number) => void;
  readonly failed: (error: OperatorError) => void;
}

/**
 * Knocks again and again until stopped. Throws what the first knock does;
 * later failures are reported, and tried again.
 */
export async function keepOpen(
  runtime: Runtime,
  { knock, seconds, opened, failed }: Keeping,
  stop: AbortSignal,
): Promise<void> {
  let first = true;
  let pauseMs = FIRST_PAUSE_MS;
  while (!stop.aborted) {
    const before = addresses(runtime);
    let waitMs: number;
    try {
      const answer = await knock();
      const grantedMs = (answer ? answer.seconds : seconds) * 1000;
      opened(answer, runtime.nowMs() + grantedMs);
      waitMs = grantedMs * RENEW_AFTER;
      pauseMs = FIRST_PAUSE_MS;
      first = false;
    } catch (error) {
      if (stop.aborted) return;
      if (first || !(error instanceof OperatorError)) throw error;
      failed(error);
      waitMs = pauseMs;
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
    await waitOrChange(runtime, waitMs, before, stop);
  }
}

/** Waits, but no longer than until this machine has other addresses, or woke up late. */
async function waitOrChange(
  runtime: Runtime,
  waitMs: number,
  before: string,
  stop: AbortSignal,
): Promise<void> {
  // By the clock, not by the timer: a machine that slept wakes up to an end.
  const endMs = runtime.nowMs() + waitMs;
  while (!stop.aborted) {
    const leftMs = endMs - runtime.nowMs();
    if (leftMs <= 0 || addresses(runtime) !== before) return;
    await runtime.sleep(Math.min(leftMs, LOOK_MS), stop);
  }
}

function addresses(runtime: Runtime): string {
  return runtime.ownAddresses().sort().join(" ");
}
