/** The ledger of grants: who may reach what until when, kept over restarts. */

import { type Grant, latestEnds } from "../../firewall/firewall.ts";
import type { Database, SqlRow, SqlValue } from "../../runtime/runtime.ts";
import {
  formatEndpoint,
  networksAround,
  parseEndpoint,
} from "../../values/address.ts";
import {
  containsPorts,
  type PortRange,
  type Protocol,
} from "../../values/ports.ts";

/** A client's grant, as recorded. */
export interface LedgerEntry extends Grant {
  /** True if it is shorter than was asked for. */
  readonly capped?: boolean;
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

/** Clients' grants in the state file. Two clients at one address have one each. */
export class Ledger {
  readonly #sql: ReturnType<typeof prepare>;
  /** At least as many as are recorded: counting them all takes a millisecond. */
  #atMost: number;

  constructor(database: Database) {
    this.#sql = prepare(database);
    this.#atMost = this.size;
  }

  /** Goes along with a clock that was set: all keep the time that is left to them. */
  shift(byMs: number): void {
    this.#sql.shift.run(byMs);
  }

  /** Has what was granted at a time that is to come begin now: the clock was set back unseen. */
  rebase(nowMs: number): void {
    this.#sql.rebase.run(nowMs);
  }

  put(entry: LedgerEntry): void {
    this.#atMost++;
    const { sinceMs, untilMs, capped } = entry;
    this.#sql.put.run(...keyOf(entry), sinceMs, untilMs, capped ? 1 : 0);
  }

  remove(entry: LedgerEntry): void {
    this.#sql.remove.run(...keyOf(entry));
  }

  /** All that is open now, or at most so many. */
  live(nowMs: number, limit = -1): LedgerEntry[] {
    return this.#sql.live.all(nowMs, limit).map(readEntry);
  }

  countLive(nowMs: number): number {
    return this.#sql.countLive.get(nowMs)!.n as number;
  }

  /** Grants for one connection that are open until after a time. */
  single(afterMs: number): LedgerEntry[] {
    return this.#sql.single.all(afterMs).map(readEntry);
  }

  /** Grants open now for one address. */
  ofAddress(address: string, nowMs: number): LedgerEntry[] {
    return this.#sql.ofAddress.all(address, nowMs).map(readEntry);
  }

  /** Grants open now that an address may use: its own, and those of networks around it. */
  reaching(address: string, nowMs: number): LedgerEntry[] {
    const all = JSON.stringify(networksAround(address));
    return this.#sql.reaching.all(all, nowMs).map(readEntry);
  }

  /** Grants that have expired and are still recorded. */
  ended(nowMs: number): LedgerEntry[] {
    return this.#sql.ended.all(nowMs).map(readEntry);
  }

  get size(): number {
    return this.#sql.count.get()!.n as number;
  }

  /** Returns true if so many more fit under a limit. */
  hasRoom(count: number, limit: number): boolean {
    if (this.#atMost + count > limit) this.#atMost = this.size;
    return this.#atMost + count <= limit;
  }
}

function prepare(database: Database) {
  return {
    // The later end wins.
    put: database.prepare(`
      insert into grants
        (client, address, protocol, first, last, target, once, since_ms, until_ms, capped)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      on conflict do update set
        until_ms = max(until_ms, excluded.until_ms),
        capped = iif(excluded.until_ms < until_ms, capped, excluded.capped)`),
    remove: database.prepare(
      `delete from grants where client = ? and address = ? and protocol = ?
       and first = ? and last = ? and target = ? and once = ?`,
    ),
    live: database.prepare("select * from grants where until_ms > ? limit ?"),
    countLive: database.prepare(
      "select count(*) as n from grants where until_ms > ?",
    ),
    single: database.prepare(
      "select * from grants where once = 1 and until_ms > ?",
    ),
    ofAddress: database.prepare(
      "select * from grants where address = ? and until_ms > ?",
    ),
    reaching: database.prepare(
      `select * from grants where address in (select value from json_each(?))
       and until_ms > ?`,
    ),
    ended: database.prepare("select * from grants where until_ms <= ?"),
    count: database.prepare("select count(*) as n from grants"),
    shift: database.prepare(
      "update grants set since_ms = since_ms + ?1, until_ms = until_ms + ?1",
    ),
    rebase: database.prepare(
      `update grants set since_ms = ?1, until_ms = until_ms - since_ms + ?1
       where since_ms > ?1`,
    ),
  };
}

/**
 * Grants that a firewall must hold for these entries: one for each address and
 * ports, with the latest end of all clients that share it. Those for a single
 * connection stay apart from those that last.
 */
export function mergeEntries(entries: readonly LedgerEntry[]): Grant[] {
  const openingOf = (entry: LedgerEntry) =>
    keyOf({ ...entry, client: "" }).join(" ");
  return [...latestEnds(entries, openingOf).values()];
}

/** True if an entry is for ports within one of these ranges. */
export function isWithin(
  entry: LedgerEntry,
  ranges: readonly PortRange[],
): boolean {
  return ranges.some((range) => containsPorts(range, entry.ports));
}

/** Key of a grant, in the order of the table. */
function keyOf({ client, address, ports, to, at, once }: Grant): SqlValue[] {
  const { protocol, first, last } = ports;
  const target = to ? formatEndpoint(to) : at ? `${BEHIND}${at}` : "";
  return [client, address, protocol, first, last, target, once ? 1 : 0];
}

/** Mark before the address of a host behind, in the column of targets. */
const BEHIND = "@";

function readEntry(row: SqlRow): LedgerEntry {
  const target = row.target as string;
  return {
    client: row.client as string,
    address: row.address as string,
    ports: {
      protocol: row.protocol as Protocol,
      first: row.first as number,
      last: row.last as number,
    },
    sinceMs: row.since_ms as number,
    untilMs: row.until_ms as number,
    once: row.once === 1,
    ...row.capped === 1 && { capped: true },
    ...target.startsWith(BEHIND)
      ? { to: null, at: target.slice(BEHIND.length) }
      : { to: parseEndpoint(target) },
  };
}
