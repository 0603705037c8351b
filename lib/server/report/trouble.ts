/** What the server does with errors of its surroundings: a full disk, a firewall that refuses. */

import {
  FailureError,
  OperatorError,
  SystemError,
} from "../../values/errors.ts";
import type { Log } from "./log.ts";

/** What is said when the state file cannot be written; anything else is a bug and thrown on. */
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
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(stateTrouble(error));
  }
}
