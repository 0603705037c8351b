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

  /** Whether there is a token to be taken. */
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
