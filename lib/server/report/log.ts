/** The server's log: one line an event, on standard error; and what fails for a while, as on a full disk. */

import type { LogConfig } from "../../config/config.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { escapeUnsafe, formatJson } from "../../values/text.ts";
import { type Rate, RateCap } from "../packet/limits.ts";
import {
  failing,
  FailureError,
  OperatorError,
  SystemError,
} from "../../values/errors.ts";

export type Level = LogConfig["level"];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Writes a line: words for people, and fields for machines. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/**
 * A log in the configuration's format, from its level on. It keeps nothing
 * waiting: what finds its reader stopped, and no more room, is counted as lost.
 */
export function createLog(runtime: Runtime, { format, level }: LogConfig): Log {
  const least = LEVELS.indexOf(level);
  let lost = 0;
  const formatLine = (...[level, words, fields]: Parameters<Log>) => {
    // A client chooses the name of the command that it wants run.
    const message = escapeUnsafe(words);
    const time = new Date(runtime.nowMs()).toISOString();
    return format === "json"
      ? formatJson({ time, level, message, ...fields }) + "\n"
      : `${time} ${level} ${message}\n`;
  };
  return (level, message, fields) => {
    if (LEVELS.indexOf(level) < least) return;
    const line = formatLine(level, message, fields);
    const words = `log: ${lost} lines lost: nobody read them`;
    const before = lost > 0 ? formatLine("warn", words, { lost }) : "";
    if (runtime.log.write(before + line)) lost = 0;
    else lost++;
  };
}

// A limit for refusals: beyond it they are counted, and not logged.

/** Refusals of a client that are logged one by one: more would push all else out of the history. */
const TOLD_REFUSALS: Rate = { perSecond: 1 / 10, burst: 60 };

/** Refused by the clock, which a copy of an old packet is too; or by who may what. */
type RefusalKind = "time" | "policy";

/** Keeps refusals that come in masses out of the log and the history. */
export class LogLimit {
  readonly #log: Log;
  readonly #refusals = new RateCap(TOLD_REFUSALS);
  /** Clients whose refusals are not logged at the moment. */
  readonly #hushed = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Returns true if a refusal of a client shall be logged; the start of a silence is logged once. */
  tells(client: string, kind: RefusalKind, nowMs: number): boolean {
    const name = `${kind} ${client}`;
    if (this.#refusals.take(name, nowMs)) {
      this.#hushed.delete(name);
      return true;
    }
    if (this.#hushed.has(name)) return false;
    this.#hushed.add(name);
    const words = `refused ${client}: too often to be told each time: ` +
      "see the counts of `knock status`";
    this.#log("warn", words, { client });
    return false;
  }
}

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
