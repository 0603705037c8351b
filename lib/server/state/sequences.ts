/** State of sequences: used ones, and commands still to be run. */

import type { SequenceEntry } from "../../config/config.ts";
import type { Database, Statement } from "../../runtime/runtime.ts";
import { formatHit, type Sequence } from "../../sequences/sequence.ts";

/** A program that is to be run when a sequence's time is over. */
interface Pending {
  readonly name: string;
  /** Canonical. */
  readonly address: string;
}

/** The tables of sequences in the state file. Methods throw SystemError. */
export class SequenceBook {
  readonly #burn: Statement;
  readonly #isBurnt: Statement;
  readonly #remind: Statement;
  readonly #due: Statement;
  readonly #forget: Statement;

  constructor(database: Database) {
    this.#burn = database.prepare("insert or ignore into burnt values (?, ?)");
    this.#isBurnt = database.prepare(
      "select 1 from burnt where door = ? and hits = ?",
    );
    this.#remind = database.prepare(`
      insert into reminders (door, address, until_ms) values (?, ?, ?)
      on conflict do update set until_ms = max(until_ms, excluded.until_ms)`);
    this.#due = database.prepare(
      "select door as name, address from reminders where until_ms <= ?",
    );
    this.#forget = database.prepare(
      "delete from reminders where door = ? and address = ?",
    );
  }

  /** The one-time sequences of an entry that were not used yet, in order. */
  left({ name, opens }: SequenceEntry): Sequence[] {
    return opens.filter(({ hits }) => !this.#isBurnt.get(name, text(hits)));
  }

  /** Uses up a one-time sequence. */
  burn({ name, hits }: Sequence): void {
    this.#burn.run(name, text(hits));
  }

  /** Notes that something is to be run for an address; the later time counts. */
  remind(name: string, address: string, untilMs: number): void {
    this.#remind.run(name, address, untilMs);
  }

  /** Commands that are due. */
  due(nowMs: number): Pending[] {
    return this.#due.all(nowMs) as unknown as Pending[];
  }

  /** Cancels a pending command; returns true if there was one. */
  forget(name: string, address: string): boolean {
    return this.#forget.run(name, address) > 0;
  }
}

/** The identity that a fleet claims when a one-time sequence is used. */
export function sequenceIdentity({ name, hits }: Sequence): Uint8Array {
  return new TextEncoder().encode(`one-time sequence ${name} ${text(hits)}`);
}

function text(hits: Sequence["hits"]): string {
  return hits.map(formatHit).join(" ");
}
