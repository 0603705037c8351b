/** State of sequences: used ones, and commands still to be run. */

import type { SequenceEntry } from "../../config/config.ts";
import type { Database } from "../../runtime/runtime.ts";
import { formatHit, type Sequence } from "../../sequences/sequence.ts";

/** The tables of sequences in the state file. Methods throw SystemError. */
export class SequenceBook {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#sql = prepare(database);
  }

  /** The one-time sequences of an entry that were not used yet, in order. */
  left({ name, opens }: SequenceEntry): Sequence[] {
    return opens.filter(({ hits }) => !this.#sql.isBurnt.get(name, text(hits)));
  }

  burn({ name, hits }: Sequence): void {
    this.#sql.burn.run(name, text(hits));
  }

  /** Notes that something is to be run for an address; the later time counts. */
  remind(name: string, address: string, untilMs: number): void {
    this.#sql.remind.run(name, address, untilMs);
  }

  /** Programs that are due: those of a sequence whose time is over, with the address, canonical. */
  due(nowMs: number): { name: string; address: string }[] {
    return this.#sql.due.all(nowMs) as { name: string; address: string }[];
  }

  /** Cancels a pending command; returns true if there was one. */
  forget(name: string, address: string): boolean {
    return this.#sql.forget.run(name, address) > 0;
  }
}

function prepare(database: Database) {
  return {
    burn: database.prepare("insert or ignore into burnt values (?, ?)"),
    isBurnt: database.prepare(
      "select 1 from burnt where door = ? and hits = ?",
    ),
    remind: database.prepare(`
      insert into reminders (door, address, until_ms) values (?, ?, ?)
      on conflict do update set until_ms = max(until_ms, excluded.until_ms)`),
    due: database.prepare(
      "select door as name, address from reminders where until_ms <= ?",
    ),
    forget: database.prepare(
      "delete from reminders where door = ? and address = ?",
    ),
  };
}

/** The identity that a fleet claims when a one-time sequence is used. */
export function sequenceIdentity({ name, hits }: Sequence): Uint8Array {
  return new TextEncoder().encode(`one-time sequence ${name} ${text(hits)}`);
}

function text(hits: Sequence["hits"]): string {
  return hits.map(formatHit).join(" ");
}
