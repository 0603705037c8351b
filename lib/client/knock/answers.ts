/** Waiting for the answer to any of several packets. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { Endpoint } from "../../values/address.ts";
import type { Answered, CodeUse } from "./outcome.ts";
import type { Sealed } from "../../dialects/dialect.ts";

/** A packet that may be answered still. */
interface Outstanding {
  readonly sealed: Sealed;
  readonly code: CodeUse;
  readonly sentMs: number;
  readonly sentMonotonicMs: number;
}

/**
 * After a "no" to one packet, how long a "yes" to another is waited for: a
 * client may be allowed over IPv4 and not over IPv6.
 */
const SECOND_OPINION_MS = 250;

/** Hears what comes back, and keeps the best answer. */
export class Replies {
  readonly #runtime: Runtime;
  readonly #outstanding = new Set<Outstanding>();
  /** Aborted by the first answer, and by the last word. */
  readonly #first = new AbortController();
  readonly #last = new AbortController();
  #best: Answered | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Counts answers to this packet from now on; call what it returns if it could not be sent. */
  expect(sealed: Sealed, code: CodeUse): () => void {
    const packet = {
      sealed,
      code,
      sentMs: this.#runtime.nowMs(),
      sentMonotonicMs: this.#runtime.monotonicMs(),
    };
    this.#outstanding.add(packet);
    return () => void this.#outstanding.delete(packet);
  }

  /** True while a sent packet may still be answered. */
  get expects(): boolean {
    return this.#outstanding.size > 0;
  }

  /** Judges a datagram; anything but a true answer is no matter. */
  hear(bytes: Uint8Array, source: Endpoint): void {
    for (const packet of this.#outstanding) {
      const answer = packet.sealed.openReply(bytes);
      if (!answer) continue;
      this.#outstanding.delete(packet);
      const roundTripMs = this.#runtime.monotonicMs() - packet.sentMonotonicMs;
      const sentMs = packet.sentMs + roundTripMs / 2;
      this.#note({
        kind: "answered",
        answer,
        from: { host: source.host, port: source.port },
        roundTripMs,
        // Not every dialect's answer has the server's time.
        clockAheadMs: answer.timeMs > 0 ? answer.timeMs - sentMs : 0,
        code: packet.code,
      });
      return;
    }
  }

  /** Waits for an answer; null when none came in time. */
  async wait(ms: number): Promise<Answered | null> {
    await this.#runtime.sleep(ms, this.#first.signal);
    if (this.#best) {
      await this.#runtime.sleep(SECOND_OPINION_MS, this.#last.signal);
    }
    return this.#best;
  }

  #note(answered: Answered): void {
    if (this.#best?.answer.status !== "done") this.#best = answered;
    this.#first.abort();
    if (answered.answer.status === "done" || this.#outstanding.size === 0) {
      this.#last.abort();
    }
  }
}
