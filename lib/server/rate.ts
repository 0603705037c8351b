/** How much a single source may cost: a token bucket each, in bounded memory. */

import { addressToBytes, isIpv4 } from "../values/address.ts";

/** How much there is for each, for long and at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Costly packets of a source. */
const COSTLY: Rate = { perSecond: 20, burst: 40 };
/** How many sources are remembered; then the one that was quiet longest is forgotten. */
const MAX_SOURCES = 65_536;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets by name, of sources or clients. A forgotten one begins anew with a full one. */
export class RateCap {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate = COSTLY) {
    this.#rate = rate;
  }

  /** Whether there is a token to be taken. */
  has(source: string, nowMs: number): boolean {
    return this.#tokensOf(source, nowMs) >= 1;
  }

  /** Takes a token; false when the source has used up its own. */
  take(source: string, nowMs: number): boolean {
    const tokens = this.#tokensOf(source, nowMs);
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
  #tokensOf(source: string, nowMs: number): number {
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(source);
    if (!bucket) return burst;
    const gained = Math.max(0, nowMs - bucket.atMs) / 1000 * perSecond;
    return Math.min(burst, bucket.tokens + gained);
  }
}

/** Who counts as one source: an address, of IPv6 its network of 64 bits, which whoever has one address has whole. */
export function sourceOf(address: string): string {
  const bytes = isIpv4(address) ? null : addressToBytes(address);
  return bytes ? bytes.subarray(0, NETWORK_SIZE).toHex() : address;
}

const NETWORK_SIZE = 8;
