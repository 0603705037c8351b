/** Values of this fleet: sealed for the engine, and believed only where they are sealed under its secret. */

import { openValue, sealValue } from "../../fleet/seal.ts";
import type { FleetConfig, FleetEngine } from "../../fleet/fleet.ts";
import { type Rate, RateCap } from "../packet/limits.ts";
import type { Server } from "../state/server.ts";
import type { FleetBook } from "./clients.ts";
import type { GrantMirror } from "./grants.ts";

/** Parts of a gateway in its fleet. */
export interface FleetParts {
  readonly server: Server;
  readonly config: FleetConfig;
  readonly engine: FleetEngine;
  readonly values: FleetValues;
  readonly book: FleetBook;
  readonly mirror: GrantMirror;
}

/** Complaints that are remembered, so that each is logged once an hour. */
const MAX_COMPLAINTS = 1000;
const AGAIN_MS = 3_600_000;
/** Characters of a key that a complaint shows. */
const MAX_WORDS = 128;

/** Complaints of one kind that are logged: whoever can write to the engine makes as many as he likes. */
const TOLD_COMPLAINTS: Rate = { perSecond: 1 / 10, burst: 60 };

/** Seals and opens values by their keys below the prefix. */
export class FleetValues {
  readonly #server: Server;
  readonly #config: FleetConfig;
  /** Latest complaints, and when they were logged, by the monotonic clock. */
  readonly #complaints = new Map<string, number>();
  readonly #told = new RateCap(TOLD_COMPLAINTS);
  /** Kinds of complaints that are not logged at the moment. */
  readonly #hushed = new Set<string>();

  constructor(server: Server, config: FleetConfig) {
    this.#server = server;
    this.#config = config;
  }

  seal(key: string, value: object): string {
    const { secret, prefix } = this.#config;
    const random = this.#server.runtime.random(16);
    return sealValue(secret, `${prefix}/${key}`, value, random);
  }

  /** Opens a value; null, counted and complained of, where it is not this fleet's. */
  open(key: string, value: string): Readonly<Record<string, unknown>> | null {
    const { secret, prefix } = this.#config;
    const opened = openValue(secret, `${prefix}/${key}`, value);
    if (opened) return opened;
    this.#server.counters.add("fleet: bad value");
    this.complain(
      key,
      "its value is not sealed under this fleet's secret, and is ignored: " +
        "fleet.secret must be the same on every gateway",
    );
    return null;
  }

  /**
   * Logs a complaint about a key or a client, the same one once an hour, and
   * no more of a kind than can be read: the start of a silence is logged.
   */
  complain(what: string, why: string): void {
    const { runtime, log } = this.#server;
    const nowMs = runtime.monotonicMs();
    // An engine's key may be a megabyte long.
    const words = `fleet: ${what.slice(0, MAX_WORDS)}: ${why}`;
    if (nowMs - (this.#complaints.get(words) ?? -Infinity) < AGAIN_MS) return;
    const [kind = ""] = what.split(/[ /]/, 1);
    if (!this.#told.take(kind, nowMs)) {
      if (this.#hushed.has(kind)) return;
      this.#hushed.add(kind);
      const more = `fleet: ${kind}: more complaints than are told each time`;
      return log("warn", more);
    }
    this.#hushed.delete(kind);
    this.#complaints.delete(words);
    this.#complaints.set(words, nowMs);
    if (this.#complaints.size > MAX_COMPLAINTS) {
      this.#complaints.delete(this.#complaints.keys().next().value!);
    }
    log("warn", words);
  }
}
