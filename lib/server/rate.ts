/** How much a single source may cost: a token bucket each, in bounded memory. */

/** Costly packets a second that a source may send for long, and at once. */
const PER_SECOND = 20;
const BURST = 40;
/** How many sources are remembered; then the one that was quiet longest is forgotten. */
const MAX_SOURCES = 65_536;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets by source address. A forgotten source begins anew with a full one. */
export class RateCap {
  readonly #buckets = new Map<string, Bucket>();

  /** Takes a token; false when the source has used up its own. */
  take(source: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(source) ?? { tokens: BURST, atMs: nowMs };
    const gained = Math.max(0, nowMs - bucket.atMs) / 1000 * PER_SECOND;
    const tokens = Math.min(BURST, bucket.tokens + gained);
    // Put in again, so that the map's order is from the quietest on.
    this.#buckets.delete(source);
    this.#buckets.set(source, {
      tokens: tokens < 1 ? tokens : tokens - 1,
      atMs: nowMs,
    });
    if (this.#buckets.size > MAX_SOURCES) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    return tokens >= 1;
  }
}
