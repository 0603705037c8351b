/** Identities of accepted packets, so that no packet is accepted twice. Protocol, step 7. */

import type { Database } from "../../runtime/runtime.ts";

/** Most identities kept in memory as well; others are only in the file. */
const MAX_CACHED = 10_000;

/** The record of accepted identities, in the state file and, for speed, in memory. */
export class Replay {
  readonly #recent = new Map<string, number>();
  readonly #sql: ReturnType<typeof prepare>;
  #floorMs = 0;

  constructor(database: Database) {
    this.#sql = prepare(database);
  }

  /**
   * Reads what is still to be remembered. After a start of the machine
   * (`rebooted`) the last records may not have reached the disk, so packets
   * stamped before this moment are refused too, by later servers as well.
   */
  begin(nowMs: number, rebooted: boolean): void {
    if (rebooted) this.#setFloor(nowMs);
    // Ahead of the clock it would refuse everybody until then.
    else this.#floorMs = Math.min(this.#read(FLOOR) ?? 0, nowMs);
    for (const { identity, untilMs } of this.live(nowMs, MAX_CACHED)) {
      const key = keyOf(identity);
      this.#recent.set(key, untilMs);
    }
  }

  /**
   * Takes stamps that differ from the clock by so much. By more than before:
   * then what is recorded is kept for longer, and what was forgotten is refused.
   */
  allow(maxSkewMs: number, nowMs: number): void {
    const before = this.#read(SKEW);
    if (before === maxSkewMs) return;
    if (before !== null && before < maxSkewMs) {
      const byMs = maxSkewMs - before;
      this.#setFloor(Math.max(this.#floorMs, nowMs - before));
      this.#sql.widen.run(byMs);
      for (const [key, untilMs] of this.#recent) {
        this.#recent.set(key, untilMs + byMs);
      }
    }
    this.#sql.setFact.run(SKEW, JSON.stringify(maxSkewMs));
  }

  /** Goes along with a clock that was set. */
  shift(byMs: number): void {
    if (this.#floorMs > 0) this.#setFloor(this.#floorMs + byMs);
  }

  /** Refuses packets with stamps up to this time: whether they were accepted is unknown. */
  forget(untilMs: number): void {
    this.#setFloor(Math.max(this.#floorMs, untilMs));
  }

  /** Identities that are still to be remembered, or at most so many. Throws SystemError. */
  live(nowMs: number, limit = -1): { identity: Uint8Array; untilMs: number }[] {
    return this.#sql.load.all(nowMs, limit) as ReturnType<Replay["live"]>;
  }

  /** Returns true if a packet with this time stamp is older than this record reaches back. */
  isForgotten(timestampMs: number): boolean {
    return timestampMs <= this.#floorMs;
  }

  /** Returns true if an identity was accepted recently: one lookup in memory. */
  seen(identity: Uint8Array): boolean {
    return this.#recent.has(keyOf(identity));
  }

  /**
   * Notes an identity in memory, until a time; false when it was noted before.
   * Comes before anything that can fail: a copy is a replay then, too.
   */
  note(identity: Uint8Array, untilMs: number): boolean {
    if (this.seen(identity)) return false;
    this.#recent.set(keyOf(identity), untilMs);
    for (const [oldest, untilMs] of this.#recent) {
      if (this.#recent.size <= MAX_CACHED) break;
      if (!this.#isInFile(oldest, untilMs)) break;
      this.#recent.delete(oldest);
    }
    return true;
  }

  /** Records an identity in the file; false when it was there already. */
  record(identity: Uint8Array, untilMs: number): boolean {
    return this.#sql.insert.run(identity, untilMs) === 1;
  }

  /** Forgets what no valid stamp can bring back. */
  prune(nowMs: number): void {
    for (const [key, untilMs] of this.#recent) {
      if (untilMs < nowMs) this.#recent.delete(key);
    }
    this.#sql.prune.run(nowMs);
  }

  /**
   * Sees to it that the file holds an identity: it does not where the packet
   * was noted and what it asked for failed. False while the file cannot be
   * written: then it stays in memory for its time.
   */
  #isInFile(key: string, untilMs: number): boolean {
    try {
      this.#sql.insert.run(bytesOf(key), untilMs);
      return true;
    } catch {
      return false;
    }
  }

  #setFloor(ms: number): void {
    this.#floorMs = ms;
    this.#sql.setFact.run(FLOOR, JSON.stringify(ms));
  }

  #read(name: string): number | null {
    const row = this.#sql.fact.get(name);
    return row ? JSON.parse(row.value as string) as number : null;
  }
}

function prepare(database: Database) {
  return {
    insert: database.prepare("insert or ignore into accepted values (?, ?)"),
    prune: database.prepare("delete from accepted where until_ms < ?"),
    load: database.prepare(
      "select identity, until_ms as untilMs from accepted where until_ms >= ? limit ?",
    ),
    widen: database.prepare("update accepted set until_ms = until_ms + ?"),
    fact: database.prepare("select value from facts where name = ?"),
    setFact: database.prepare("insert or replace into facts values (?, ?)"),
  };
}

/** Facts of the state file, in milliseconds: up to which stamp all are refused, and by how much stamps may differ. */
const FLOOR = "replay floor";
const SKEW = "max skew";

/** The identity under which a client's one-time code is recorded when it is used. */
export function codeIdentity(client: string, step: number): Uint8Array {
  return new TextEncoder().encode(`one-time code ${step} ${client}`);
}

function keyOf(identity: Uint8Array): string {
  return String.fromCharCode(...identity);
}

function bytesOf(key: string): Uint8Array {
  return Uint8Array.from(key, (byte) => byte.charCodeAt(0));
}
