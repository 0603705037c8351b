/** The history that `knock log` shows: who opened what, and what was refused. */

import type { Action } from "../dialects/dialect.ts";
import type { Database, SqlRow, Statement } from "../runtime/runtime.ts";

/** How many events are kept. */
const MAX_EVENTS = 100_000;

/** An action that was done, the end of a grant, or why nothing was done. */
export type EventName = Action | "end" | "refused" | "failed";

/** Something that happened to an authentic request or a grant. */
export interface Event {
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly event: EventName;
  readonly client: string;
  readonly address: string;
  /** Such as "tcp/22,udp/53"; "" where none are concerned. */
  readonly ports: string;
  readonly seconds: number;
  readonly dialect: string;
  /** Why it was refused or failed; "" otherwise. */
  readonly reason: string;
}

export interface HistoryQuery {
  readonly sinceMs?: number;
  readonly client?: string;
}

/** Events in the state file, the latest {@linkcode MAX_EVENTS} of them. */
export class History {
  readonly #insert: Statement;
  readonly #select: Statement;
  readonly #prune: Statement;

  constructor(database: Database) {
    this.#insert = database.prepare(`
      insert into history (at_ms, event, client, address, ports, seconds, dialect, reason)
      values (?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#select = database.prepare(`
      select * from history
      where at_ms >= ?1 and (?2 is null or client = ?2)
      order by id`);
    this.#prune = database.prepare(
      "delete from history where id <= (select max(id) from history) - ?",
    );
  }

  add(event: Event): void {
    const { atMs, client, address, ports, seconds, dialect, reason } = event;
    this.#insert.run(
      atMs,
      event.event,
      client,
      address,
      ports,
      seconds,
      dialect,
      reason,
    );
  }

  /** Events in the order in which they happened. */
  find({ sinceMs = 0, client }: HistoryQuery): Event[] {
    return this.#select.all(sinceMs, client ?? null).map(readEvent);
  }

  prune(): void {
    this.#prune.run(MAX_EVENTS);
  }
}

function readEvent(row: SqlRow): Event {
  return {
    atMs: row.at_ms as number,
    event: row.event as EventName,
    client: row.client as string,
    address: row.address as string,
    ports: row.ports as string,
    seconds: row.seconds as number,
    dialect: row.dialect as string,
    reason: row.reason as string,
  };
}
