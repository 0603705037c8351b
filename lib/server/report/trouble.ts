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

/** Does what may fail for a while, a full disk say: logged, and tried again by the next turn. */
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
