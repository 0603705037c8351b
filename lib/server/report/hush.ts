/** Which refusals are told, and which are only counted because there are too many. */

import type { Log } from "./log.ts";
import { type Rate, RateCap } from "../packet/rate.ts";

/** Refusals of a client that are told each: more would push all else out of the history. */
const TOLD_REFUSALS: Rate = { perSecond: 1 / 10, burst: 60 };

/** Refused by the clock, which a copy of an old packet is too; or by who may what. */
export type RefusalKind = "time" | "policy";

/** Keeps refusals that come in masses out of the log and the history. */
export class Hush {
  readonly #log: Log;
  readonly #refusals = new RateCap(TOLD_REFUSALS);
  /** Whose refusals are not told at the moment. */
  readonly #hushed = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Whether a refusal of a client is to be told; that it is not is told once. */
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
