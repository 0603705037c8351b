/** Handling of errors of the system: a full disk, a firewall that refuses. */

import {
  failing,
  FailureError,
  OperatorError,
  SystemError,
} from "../../values/errors.ts";
import type { Log } from "./log.ts";

/** Message for a state file that cannot be written; any other error is a bug and rethrown. */
export function stateTrouble(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return `cannot write the state file: ${error.message}`;
}

/** Does work that may fail for a while, as on a full disk: a failure is logged, and the next turn tries again. */
export async function attempt(
  log: Log,
  work: () => void | Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isForPeople = error instanceof OperatorError;
    log("error", isForPeople ? error.message : stateTrouble(error));
  }
}

/** Does work that the operator waits for; its failures are OperatorErrors. */
export async function orFailure<T>(work: () => T | Promise<T>): Promise<T> {
  return await failing((error) => new FailureError(stateTrouble(error)), work);
}
