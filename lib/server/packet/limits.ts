import type { DialectName } from "../../dialects/dialect.ts";

/** Rate limits by name, such as a client's: a token bucket each, in bounded memory. */

/** Tokens a second, and most at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Most names remembered; beyond it, the least recently used bucket is dropped. */
const MAX_NAMES = 65_536;

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * Token buckets by name; a new one is full. The names are of clients, which
 * are authenticated: a bucket by the source of a packet would let anybody who
 * forges it lock that source out.
 */
export class RateCap {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Returns true if a token is left. */
  has(name: string, nowMs: number): boolean {
    return this.#tokensOf(name, nowMs) >= 1;
  }

  /** Takes a token; false when the bucket is empty. */
  take(name: string, nowMs: number): boolean {
    const tokens = this.#tokensOf(name, nowMs);
    // Deleted first, so that the map stays in the order of use.
    this.#buckets.delete(name);
    this.#buckets.set(name, {
      tokens: tokens < 1 ? tokens : tokens - 1,
      atMs: nowMs,
    });
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
// HMAC for each client, RSA. Only packets that fail are charged, to their
// dialect and never to their source: anybody can forge a source, so a limit
// by source locks out whoever has that address.

/**
 * Milliseconds of each second that a dialect has for itself. What one does not
 * use, any other may. All together leave nearly half of a processor to receive
 * packets, to judge, and to change the firewall. knock/1's is enough for 5,000
 * failed handshakes a second on a small machine.
 */
export const SHARES: Readonly<Record<DialectName, number>> = {
  knock: 300,
  fwknop: 80,
  openme: 80,
  openspa: 80,
};
/** Longest time saved up, by a dialect and in the spare account. */
const BURST_MS = 40;
const DIALECTS = Object.keys(SHARES) as DialectName[];

/** Accounts of processor time, one a dialect, and a spare one that all share. */
export class Budget {
  readonly #left = new Map(DIALECTS.map((name) => [name, BURST_MS]));
  #spareMs = BURST_MS;
  #atMs = 0;

  /** Returns true if a dialect may take a costly step; `nowMs` comes from a monotonic clock. */
  allows(dialect: DialectName, nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#left.get(dialect)! > 0 || this.#spareMs > 0;
  }

  /** Charges a step that failed; it may overdraw the account, once. */
  charge(dialect: DialectName, tookMs: number): void {
    const left = this.#left.get(dialect)!;
    if (left > 0) this.#left.set(dialect, left - tookMs);
    else this.#spareMs -= tookMs;
  }

  #refill(nowMs: number): void {
    const gone = Math.max(0, nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    for (const dialect of DIALECTS) {
      const full = this.#left.get(dialect)! + gone * SHARES[dialect];
      this.#left.set(dialect, Math.min(BURST_MS, full));
      this.#spareMs += Math.max(0, full - BURST_MS);
    }
    this.#spareMs = Math.min(BURST_MS, this.#spareMs);
  }
}
