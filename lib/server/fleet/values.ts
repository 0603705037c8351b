/** Values of this fleet: sealed for the engine, and believed only where they are sealed under its secret. */

import { openValue, sealValue } from "../../fleet/seal.ts";
import type { FleetConfig } from "../../fleet/fleet.ts";
import type { Server } from "../state/server.ts";

/** Most complaints that are remembered, so that each is logged once. */
const MAX_COMPLAINTS = 1000;

/** Seals and opens values by their keys below the prefix. */
export class FleetValues {
  readonly #server: Server;
  readonly #config: FleetConfig;
  readonly #complaints = new Set<string>();

  constructor(server: Server, config: FleetConfig) {
    this.#server = server;
    this.#config = config;
  }

  seal(key: string, value: object): string {
    const { secret, prefix } = this.#config;
    const random = this.#server.runtime.random(16);
    return sealValue(secret, `${prefix}/${key}`, value, random);
  }

  /** Opens a value; null, counted and logged once a key, where it is not this fleet's. */
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

  /** Logs a complaint about a key or a client once. */
  complain(what: string, why: string): void {
    const words = `fleet: ${what}: ${why}`;
    if (this.#complaints.has(words)) return;
    if (this.#complaints.size >= MAX_COMPLAINTS) return;
    this.#complaints.add(words);
    this.#server.log("warn", words);
  }
}
