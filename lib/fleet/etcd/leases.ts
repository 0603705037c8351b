/** Leases of etcd, which end what is written under them. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { EtcdCalls } from "./calls.ts";
import { EtcdError } from "./wire.ts";

const MINUTE_MS = 60_000;
/** Part of a life by which leases for it differ: a lease costs a write, and memory of etcd. */
const STEPS = 10;
/** Lives whose leases are kept ready at most. */
const MAX_READY = 4;
/** Difference of the two clocks that shows a sleep, milliseconds. */
const SLEPT_MS = 1000;

/** Leases that many keys share, granted before they are needed. */
export class EtcdLeases {
  readonly #calls: EtcdCalls;
  readonly #runtime: Runtime;
  /** By the time of the monotonic clock at which they end, or later. */
  readonly #leases = new Map<number, Promise<string>>();
  /** Lives asked for of late, milliseconds. */
  readonly #lives = new Set<number>();
  /** Unix time less the monotonic clock's, milliseconds. */
  #offsetMs = 0;

  constructor(calls: EtcdCalls, runtime: Runtime) {
    this.#calls = calls;
    this.#runtime = runtime;
  }

  /** Forgets all: they are of other data. */
  clear(): void {
    this.#leases.clear();
  }

  /**
   * Writes under leases that live for so long, milliseconds, or somewhat
   * longer; under new ones where etcd has lost one. Throws SystemError.
   */
  async under<T>(
    livesMs: readonly number[],
    untilMs: number,
    write: (...leases: string[]) => Promise<T>,
  ): Promise<T> {
    for (let tries = 0;; tries++) {
      const leases = livesMs.map((liveMs) => this.#lease(liveMs, untilMs));
      try {
        return await write(...await Promise.all(leases));
      } catch (error) {
        const isGone = error instanceof EtcdError && error.kind === "lease";
        if (!isGone || tries > 0) throw error;
        for (const [endMs, lease] of this.#leases) {
          if (leases.includes(lease)) this.#leases.delete(endMs);
        }
      }
    }
  }

  /** Grants ahead what writes of late would need, so that the next one does not wait. */
  keepReady(untilMs: number): void {
    for (const liveMs of [...this.#lives]) {
      this.#lease(liveMs, untilMs).catch(() => {});
    }
  }

  /** A lease that lives for so long, or up to two steps longer; the one for a step later is granted ahead. */
  #lease(liveMs: number, untilMs: number): Promise<string> {
    // Lives that differ by seconds have the same.
    const life = Math.ceil(liveMs / MINUTE_MS) * MINUTE_MS;
    this.#lives.delete(life);
    this.#lives.add(life);
    const [oldest] = this.#lives;
    if (this.#lives.size > MAX_READY) this.#lives.delete(oldest!);
    const nowMs = this.#runtime.monotonicMs();
    const offsetMs = this.#runtime.nowMs() - nowMs;
    // A machine that slept: its monotonic clock did, too, and etcd's did not.
    if (Math.abs(offsetMs - this.#offsetMs) > SLEPT_MS) this.#leases.clear();
    this.#offsetMs = offsetMs;
    const step = Math.ceil(life / STEPS / MINUTE_MS) * MINUTE_MS;
    const endMs = Math.ceil((nowMs + life) / step) * step;
    const next = this.#leases.get(endMs + step) ??
      this.#grant(endMs + step, nowMs, untilMs);
    return this.#leases.get(endMs) ?? next;
  }

  #grant(endMs: number, nowMs: number, untilMs: number): Promise<string> {
    for (const old of this.#leases.keys()) {
      if (old < nowMs) this.#leases.delete(old);
    }
    const TTL = String(Math.ceil((endMs - nowMs) / 1000));
    const lease = this.#calls.call("lease/grant", { TTL }, untilMs)
      .then(({ ID }) => String(ID));
    this.#leases.set(endMs, lease);
    lease.catch(() => {
      if (this.#leases.get(endMs) === lease) this.#leases.delete(endMs);
    });
    return lease;
  }
}
