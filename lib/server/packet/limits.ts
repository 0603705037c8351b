/**
 * Processor time for what cannot be refused cheaply: a Noise handshake, an
 * HMAC for each client, RSA. Only packets that fail are charged, to their
 * dialect and never to their source: anybody can forge a source, so a limit
 * by source locks out whoever has that address.
 * @module
 */

import type { DialectName } from "../../dialects/dialect.ts";

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

  /** Whether a dialect may take a costly step; `nowMs` is of a clock that does not jump. */
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
