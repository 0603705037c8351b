/**
 * How much of the server's time the costly steps of a dialect may take, all
 * sources together: whoever forges his source address has as many as he
 * likes, and a cap for each of them is none for him.
 * @module
 */

import type { DialectName } from "../dialects/dialect.ts";

/**
 * Milliseconds of each second, and at once. Our own dialect has no such cap:
 * its costly step is only for who knows the server's public key.
 */
const MS_PER_SECOND: Readonly<Record<DialectName, number>> = {
  knock: Infinity,
  fwknop: 250,
  openme: 200,
  openspa: 200,
};
/** So long nothing else is done, at most, for what one dialect costs. */
const BURST_MS = 40;

interface Account {
  leftMs: number;
  atMs: number;
}

/** What each dialect may still cost. Time is measured, not guessed. */
export class Budget {
  readonly #accounts = new Map<DialectName, Account>();

  /** Whether a dialect may take a costly step at this time. */
  allows(dialect: DialectName, nowMs: number): boolean {
    if (MS_PER_SECOND[dialect] === Infinity) return true;
    return this.#accountOf(dialect, nowMs).leftMs > 0;
  }

  /** Books what a step took; it may overdraw the account, once. */
  spend(dialect: DialectName, tookMs: number, nowMs: number): void {
    if (MS_PER_SECOND[dialect] === Infinity) return;
    this.#accountOf(dialect, nowMs).leftMs -= tookMs;
  }

  #accountOf(dialect: DialectName, nowMs: number): Account {
    let account = this.#accounts.get(dialect);
    if (!account) {
      account = { leftMs: BURST_MS, atMs: nowMs };
      this.#accounts.set(dialect, account);
    }
    const gone = Math.max(0, nowMs - account.atMs) / 1000;
    account.leftMs = Math.min(
      BURST_MS,
      account.leftMs + gone * MS_PER_SECOND[dialect],
    );
    account.atMs = nowMs;
    return account;
  }
}
