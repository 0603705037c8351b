/** The ledger of grants: who may reach what until when, kept over restarts. */

import type { Grant } from "../firewall/firewall.ts";
import type { Database, SqlRow, Statement } from "../runtime/runtime.ts";
import {
  containsPorts,
  type PortRange,
  type Protocol,
} from "../values/ports.ts";

/** A client's grant, as recorded. */
export interface Entry extends Grant {
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

/** Clients' grants in the state file. Two clients at one address have one each. */
export class Ledger {
  readonly #put: Statement;
  readonly #remove: Statement;
  readonly #live: Statement;
  readonly #ofAddress: Statement;
  readonly #ended: Statement;
  readonly #count: Statement;

  constructor(database: Database) {
    // The later end wins; a grant for one connection gives way to a lasting one.
    this.#put = database.prepare(`
      insert into grants (client, address, protocol, first, last, since_ms, until_ms, once)
      values (?, ?, ?, ?, ?, ?, ?, ?)
      on conflict do update set
        until_ms = max(until_ms, excluded.until_ms),
        once = min(once, excluded.once)`);
    this.#remove = database.prepare(
      "delete from grants where client = ? and address = ? and protocol = ? and first = ? and last = ?",
    );
    this.#live = database.prepare("select * from grants where until_ms > ?");
    this.#ofAddress = database.prepare(
      "select * from grants where address = ? and until_ms > ?",
    );
    this.#ended = database.prepare("select * from grants where until_ms <= ?");
    this.#count = database.prepare("select count(*) as n from grants");
  }

  put(entry: Entry): void {
    const { client, address, ports, sinceMs, untilMs, once } = entry;
    const { protocol, first, last } = ports;
    this.#put.run(
      client,
      address,
      protocol,
      first,
      last,
      sinceMs,
      untilMs,
      once ? 1 : 0,
    );
  }

  remove({ client, address, ports }: Entry): void {
    const { protocol, first, last } = ports;
    this.#remove.run(client, address, protocol, first, last);
  }

  /** All that is open now. */
  live(nowMs: number): Entry[] {
    return this.#live.all(nowMs).map(readEntry);
  }

  /** What is open now for one address. */
  ofAddress(address: string, nowMs: number): Entry[] {
    return this.#ofAddress.all(address, nowMs).map(readEntry);
  }

  /** What has ended by itself and is still recorded. */
  ended(nowMs: number): Entry[] {
    return this.#ended.all(nowMs).map(readEntry);
  }

  /** How many are recorded. */
  get size(): number {
    return this.#count.get()!.n as number;
  }
}

/**
 * What a firewall must hold for these entries: one grant for each address and
 * ports, with the latest end of all clients that share it. Those for a single
 * connection stay apart from those that last.
 */
export function mergeEntries(entries: readonly Entry[]): Grant[] {
  const merged = new Map<string, Grant>();
  for (const entry of entries) {
    const { address, ports: { protocol, first, last }, once } = entry;
    const key = `${address} ${protocol} ${first} ${last} ${once}`;
    const other = merged.get(key);
    if (!other || other.untilMs < entry.untilMs) merged.set(key, entry);
  }
  return [...merged.values()];
}

/** Whether an entry is for ports within one of these ranges. */
export function isWithin(entry: Entry, ranges: readonly PortRange[]): boolean {
  return ranges.some((range) => containsPorts(range, entry.ports));
}

function readEntry(row: SqlRow): Entry {
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
  };
}
