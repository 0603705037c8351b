/** Rate limits by name, such as a client's: a token bucket each, in bounded memory; and limits of one-time codes. */

import type { DialectName } from "../../dialects/dialect.ts";
import { DIALECT_NAMES } from "../../dialects/table.ts";
import { STEP_MS } from "../../dialects/crypto/codes.ts";
import { codeIdentity } from "../state/replay.ts";
import type { Store } from "../state/store.ts";

/** Tokens a second, and most at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Most names remembered; beyond it, the least recently used bucket is dropped. */
const MAX_NAMES = 65_536;

/**
 * Token buckets by name; a new one is full. The names are of clients, which
 * are authenticated: a bucket by the source of a packet would let anybody who
 * forges it lock that source out.
 */
export class RateCap {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Takes a token; false when the bucket is empty. */
  take(name: string, nowMs: number): boolean {
    const tokens = this.#tokensOf(name, nowMs);
    // Deleted first, so that the map stays in the order of use.
    this.#buckets.delete(name);
    const left = tokens < 1 ? tokens : tokens - 1;
    this.#buckets.set(name, { tokens: left, atMs: nowMs });
    if (this.#buckets.size > MAX_NAMES) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    return tokens >= 1;
  }

  #tokensOf(name: string, nowMs: number): number {
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(name);
    if (!bucket) return burst;
    const gained = Math.max(0, nowMs - bucket.atMs) / 1000 * perSecond;
    return Math.min(burst, bucket.tokens + gained);
  }
}

// Processor time for what cannot be refused cheaply: a Noise handshake, an
// HMAC for each client, RSA. Each dialect has its share of it, and no source
// has a limit: anybody can forge a source, so a limit by source locks out
// whoever has that address.

/** Shares of the processor time, while packets of several dialects wait for it. */
export const SHARES = Object.fromEntries(
  DIALECT_NAMES.map((name) => [name, name === "knock" ? 4 : 1]),
) as Readonly<Record<DialectName, number>>;
/** Most packets of a dialect that wait: a tenth of a second of Noise handshakes. */
export const MAX_WAITING_PACKETS = 1024;

/**
 * Most packets of a dialect that wait for a search among clients that are not
 * in memory: it may take a tenth of a second and more.
 */
export const MAX_SEARCHES = 64;

/** Line in which packets of a dialect wait: for their first costly step, or for a search of who made them. */
export type LineName = DialectName | `${DialectName} search`;

/** Packets of one line, the oldest first. */
interface Line<T> {
  readonly waiting: T[];
  readonly most: number;
  readonly share: number;
  /** Processor time that was taken, divided by the share. */
  used: number;
}

/**
 * Packets that wait for their costly step. The next one is of the line that
 * has used least of its share: a flood in one line takes all the time that the
 * others leave, and keeps none of them waiting. A line that was idle has saved
 * nothing up.
 */
export class Turns<T> {
  readonly #lines = new Map(
    DIALECT_NAMES.flatMap((name): [LineName, Line<T>][] => [
      [name, makeLine(MAX_WAITING_PACKETS, SHARES[name])],
      [`${name} search`, makeLine(MAX_SEARCHES, 1)],
    ]),
  );
  /** Use of the line that was served last. */
  #level = 0;

  /** Lets a packet wait; false: too many in its line do, whatever their source. */
  add(name: LineName, packet: T): boolean {
    const line = this.#lines.get(name)!;
    if (line.waiting.length >= line.most) return false;
    if (line.waiting.length === 0) line.used = Math.max(line.used, this.#level);
    line.waiting.push(packet);
    return true;
  }

  /** Puts the packet that was taken last back at the head of its line. */
  again(name: LineName, packet: T): void {
    this.#lines.get(name)!.waiting.unshift(packet);
  }

  /** Takes the packet whose turn it is; undefined when none waits. */
  next(): T | undefined {
    let first: Line<T> | null = null;
    for (const line of this.#lines.values()) {
      if (line.waiting.length === 0) continue;
      if (!first || line.used < first.used) first = line;
    }
    if (!first) return undefined;
    this.#level = first.used;
    return first.waiting.shift();
  }

  /** Charges a line for the time that its packet took. */
  charge(name: LineName, tookMs: number): void {
    const line = this.#lines.get(name)!;
    line.used += tookMs / line.share;
  }
}

function makeLine<T>(most: number, share: number): Line<T> {
  return { waiting: [], most, share, used: 0 };
}

// One-time codes: how many wrong ones a client may try, and each right one once.

/** Wrong codes in a row without a delay. */
const FREE = 5;
/** The delay after them, which doubles with each further one (RFC 4226 §7.3). */
const FIRST_DELAY_MS = 60_000;
const MAX_DELAY_MS = 3_600_000;

/** A client's wrong codes since its last right one, and when the last of them came. */
interface Wrong {
  readonly count: number;
  readonly atMs: number;
}

/** Used and wrong one-time codes of the clients, kept in the state file across restarts. */
export class CodeGuard {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns true if a client may try another code. Throws SystemError. */
  mayTry(client: string, nowMs: number): boolean {
    const { count, atMs } = this.#wrongOf(client);
    // The clock was set back: the delay begins anew.
    if (atMs > nowMs) {
      this.#store.setFact(factOf(client), { count, atMs: nowMs });
    }
    return nowMs - Math.min(atMs, nowMs) >= delayMs(count);
  }

  /** Counts a wrong one. Throws SystemError. */
  noteWrong(client: string, nowMs: number): void {
    const { count } = this.#wrongOf(client);
    const wrong: Wrong = { count: count + 1, atMs: nowMs };
    this.#store.setFact(factOf(client), wrong);
  }

  /**
   * Uses up the code of a 30 s step; false when it was used before. That is
   * recorded as long as it could come again, with a stamp from the step before
   * the code's to the one after it. Throws SystemError.
   */
  use(client: string, step: number, maxSkewMs: number, nowMs: number): boolean {
    const untilMs = nowMs + 2 * maxSkewMs + 3 * STEP_MS;
    const { replay } = this.#store;
    if (!replay.record(codeIdentity(client, step), untilMs)) return false;
    if (this.#wrongOf(client).count > 0) {
      this.#store.setFact(factOf(client), NONE);
    }
    return true;
  }

  #wrongOf(client: string): Wrong {
    return this.#store.fact(factOf(client)) as Wrong | undefined ?? NONE;
  }
}

const NONE: Wrong = { count: 0, atMs: 0 };

function factOf(client: string): string {
  return `wrong codes of ${client}`;
}

/** Delay after so many wrong codes in a row, milliseconds. */
export function delayMs(count: number): number {
  return count < FREE
    ? 0
    : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (count - FREE));
}
