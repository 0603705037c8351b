/** What happened, told twice: as an event in the history and as a line in the log. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { PortRange } from "../../values/ports.ts";
import type { EventName } from "../state/history.ts";
import type { Entry } from "../state/ledger.ts";
import type { Level, Log } from "./log.ts";
import { formatPorts } from "./messages.ts";
import type { Store } from "../state/store.ts";
import { stateTrouble } from "./trouble.ts";

/** Who asked, and by what: a client by a request, or a sequence. */
export interface Asker {
  readonly client: string;
  readonly dialect: string;
  /** The command to be run; null for all but `run`. */
  readonly command: string | null;
}

/** What an event is about, besides the request. */
export interface Concerned {
  /** Canonical. */
  readonly address: string;
  readonly ports: readonly PortRange[];
  readonly seconds: number;
}

/** Writes events of requests and grants. */
export class Chronicle {
  readonly #runtime: Runtime;
  readonly #store: Store;
  readonly #log: Log;

  constructor(runtime: Runtime, store: Store, log: Log) {
    this.#runtime = runtime;
    this.#store = store;
    this.#log = log;
  }

  /** Adds an event of a request to the history; throws SystemError. */
  remember(
    event: EventName,
    request: Asker,
    { address, ports, seconds }: Concerned,
    reason = "",
  ): void {
    this.#store.history.add({
      atMs: this.#runtime.nowMs(),
      event,
      client: request.client,
      address,
      ports: request.command ?? formatPorts(ports),
      seconds,
      dialect: request.dialect,
      reason,
    });
  }

  /** Adds the end of a grant to the history; throws SystemError. */
  rememberEnd({ client, address, ports }: Entry, reason: string): void {
    this.#store.history.add({
      atMs: this.#runtime.nowMs(),
      event: reason ? "close" : "end",
      client,
      address,
      ports: formatPorts([ports]),
      seconds: 0,
      dialect: "",
      reason,
    });
  }

  /** Writes a line about a request. */
  say(
    level: Level,
    event: EventName,
    request: Asker,
    { address, ports }: Omit<Concerned, "seconds">,
    words = "",
  ): void {
    const { client, dialect } = request;
    const list = request.command ?? formatPorts(ports);
    const subject = [event, client, address, list].filter(Boolean).join(" ");
    const colon = event === "refused" || event === "failed" ? ":" : "";
    this.#log(
      level,
      words ? `${subject}${colon} ${words}` : subject,
      { event, client, address, ports: list, dialect },
    );
  }

  /** Writes a line that the state cannot be written; anything else is a bug and thrown on. */
  sayTrouble(error: unknown): void {
    this.#log("error", stateTrouble(error));
  }
}
