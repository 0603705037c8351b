/** The history that `knock log` shows: who opened what, and what was refused. */

import type { Action } from "../../dialects/dialect.ts";
import type { Database } from "../../runtime/runtime.ts";

/** Most events kept, of all clients and of one. */
export const MAX_EVENTS = 100_000;
export const MAX_EVENTS_OF_CLIENT = 10_000;

/** New events that are too few to look for what is too much: that counts all. */
const LOOK_AFTER = 100;

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
  /** Number in the history, ascending; absent before it is recorded. */
  readonly id?: number;
}

/** Choice of events. */
export interface HistoryQuery {
  readonly sinceMs?: number;
  readonly client?: string;
  /** Only events behind the one with this number. */
  readonly afterId?: number;
  /** Only the latest of them. */
  readonly limit?: number;
}

/**
 * Events in the state file. Nobody pushes others' out: of each client the latest
 * {@linkcode MAX_EVENTS_OF_CLIENT} are kept, and fewer of those that have most
 * where all are more than {@linkcode MAX_EVENTS}.
 */
export class History {
  readonly #sql: ReturnType<typeof prepare>;
  /** The last event when the history was pruned. */
  #prunedId = -Infinity;
  readonly #full = new Set<string>();

  constructor(database: Database) {
    this.#sql = prepare(database);
  }

  add(event: Event): void {
    const { atMs, client, address, ports, seconds, dialect, reason } = event;
    this.#sql.insert.run(
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
  find(
    { sinceMs = 0, client, afterId = 0, limit = -1 }: HistoryQuery,
  ): Event[] {
    return this.#sql.select.all(
      sinceMs,
      client ?? null,
      afterId,
      limit,
    ) as unknown as Event[];
  }

  /** Number of the latest event; 0 if there is none. */
  lastId(): number {
    return this.#sql.last.get()?.id as number | null ?? 0;
  }

  /** Time of each client's last knock that was carried out, Unix milliseconds. */
  lastKnocks(): ReadonlyMap<string, number> {
    const last = this.#sql.knocks.all() as { client: string; atMs: number }[];
    return new Map(last.map(({ client, atMs }) => [client, atMs]));
  }

  /** Drops the oldest of what is too much; the clients whose part is full for the first time. */
  prune(): string[] {
    const last = this.lastId();
    if (last - this.#prunedId < LOOK_AFTER) return [];
    this.#prunedId = last;
    const counts = this.#sql.counts.all() as { client: string; n: number }[];
    const share = Math.min(
      MAX_EVENTS_OF_CLIENT,
      fairShare(counts.map(({ n }) => n), MAX_EVENTS),
    );
    const full: string[] = [];
    for (const { client, n: count } of counts) {
      if (count <= share) continue;
      this.#sql.prune.run(client, share);
      if (!this.#full.has(client)) full.push(client);
      this.#full.add(client);
    }
    return full;
  }
}

/** The largest share with which these counts, each cut to it, are no more than a limit. */
export function fairShare(counts: readonly number[], limit: number): number {
  let left = limit;
  const sorted = counts.toSorted((a, b) => a - b);
  for (const [index, count] of sorted.entries()) {
    const share = Math.floor(left / (sorted.length - index));
    if (count > share) return share;
    left -= count;
  }
  return Infinity;
}

function prepare(database: Database) {
  return {
    insert: database.prepare(`
      insert into history (at_ms, event, client, address, ports, seconds, dialect, reason)
      values (?, ?, ?, ?, ?, ?, ?, ?)`),
    select: database.prepare(`
      select * from (
        select at_ms as atMs, event, client, address, ports, seconds, dialect, reason, id
        from history
        where at_ms >= ?1 and (?2 is null or client = ?2) and id > ?3
        order by id desc limit ?4)
      order by id`),
    knocks: database.prepare(`
      select client, max(at_ms) as atMs from history
      where event in ('open', 'close', 'run') and dialect <> ''
      group by client`),
    last: database.prepare("select max(id) as id from history"),
    counts: database.prepare(
      "select client, count(*) as n from history group by client",
    ),
    prune: database.prepare(`
      delete from history where client = ?1 and id <= (
        select id from history where client = ?1
        order by id desc limit 1 offset ?2)`),
  };
}
