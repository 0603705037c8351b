/**
 * Answers for repeated checks: a browser sends a knock again, each time with
 * its own transaction id, until it is answered. Bounded, and no Noise. Pure.
 * docs/protocol.md §10.
 * @module
 */

import type { Endpoint } from "../../../values/address.ts";
import { readWebPacket, webIdentity } from "./form.ts";
import { errorAnswer, holds, successAnswer } from "./stun.ts";

/** Longest time that a check is answered again, milliseconds. */
const KEPT_MS = 10_000;
/** Most knocks that are kept; beyond them the oldest goes. */
const MAX_KEPT = 1024;

interface Kept {
  readonly source: string;
  readonly password: string;
  readonly untilMs: number;
  /** Null until the firewall has done its part: nothing is said before. */
  done: boolean | null;
}

/** The outcome of a look-up: null for a knock that is not kept for this source. */
export type Repeat = { readonly answer: Uint8Array<ArrayBuffer> | null } | null;

/** Knocks from browsers that were accepted a moment ago, by their identity. */
export class Repeats {
  readonly #kept = new Map<string, Kept>();

  /** Keeps an accepted knock for this source; its answer follows by `settle`. */
  note(
    identity: Uint8Array,
    source: Endpoint,
    password: string,
    nowMs: number,
  ): void {
    if (this.#kept.size >= MAX_KEPT) {
      this.#kept.delete(this.#kept.keys().next().value!);
    }
    this.#kept.set(identity.toHex(), {
      source: nameOf(source),
      password,
      untilMs: nowMs + KEPT_MS,
      done: null,
    });
  }

  /** Records the outcome of a noted knock: done, or refused or failed. */
  settle(identity: Uint8Array, done: boolean): void {
    const kept = this.#kept.get(identity.toHex());
    if (kept) kept.done = done;
  }

  /**
   * Answers a datagram that repeats a kept knock, from the same address and
   * port and with good integrity. Null for every other datagram.
   */
  find(datagram: Uint8Array, source: Endpoint, nowMs: number): Repeat {
    if (this.#kept.size === 0) return null;
    const read = readWebPacket(datagram);
    if (!read) return null;
    const key = webIdentity(read).toHex();
    const kept = this.#kept.get(key);
    if (!kept || kept.source !== nameOf(source)) return null;
    if (nowMs > kept.untilMs) {
      this.#kept.delete(key);
      return null;
    }
    const { check } = read;
    if (!holds(datagram, check, kept.password)) return null;
    if (kept.done === null) return { answer: null };
    return {
      answer: webAnswer(check.transaction, source, kept.password, kept.done),
    };
  }
}

/** Writes the answer to a check: 60 bytes and more. */
export function webAnswer(
  transaction: Uint8Array,
  source: Endpoint,
  password: string,
  done: boolean,
): Uint8Array<ArrayBuffer> {
  return done
    ? successAnswer(transaction, source, password)
    : errorAnswer(transaction, password);
}

function nameOf({ host, port }: Endpoint): string {
  return `${host} ${port}`;
}
