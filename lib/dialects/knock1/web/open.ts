/**
 * The server's side of the web form: opens checks, answers them, and answers
 * those that a browser repeats. docs/protocol.md, "The web form".
 * @module
 */

import type { Endpoint } from "../../../values/address.ts";
import type { KeyPair } from "../../crypto/curve25519.ts";
import type { Opened, Scene } from "../../dialect.ts";
import {
  readWebPacket,
  webIdentity,
  type WebInitiator,
  webOpener,
} from "./form.ts";
import { errorAnswer, holds, successAnswer } from "./stun.ts";

/** Longest time that a check is answered again, milliseconds. */
const KEPT_MS = 10_000;
/** Most knocks whose checks are answered again; beyond them the oldest goes. */
const MAX_KEPT = 1024;

/**
 * Makes the server's side for its own key pair. `find` looks up a client that
 * may knock from a browser by its public key, 32 bytes; null for all others.
 */
export function webSide(
  own: KeyPair,
  maxSkewMs: number,
  find: (publicKey: Uint8Array) => WebInitiator | null,
): (datagram: Uint8Array, scene: Scene) => Opened {
  const open = webOpener(own, maxSkewMs, find);
  const repeats = new Repeats();
  return (datagram, scene) => {
    const { source } = scene;
    const answer = source && repeats.find(datagram, source, scene.nowMs);
    if (answer) return { ok: false, why: "replay", answer };
    const opened = open(datagram, scene);
    if (!opened.ok) return opened;
    const { request, password, transaction } = opened;
    return {
      ok: true,
      request,
      seal({ status, timeMs }) {
        if (!source) return new Uint8Array();
        const done = status === "done";
        const kept = { source, password, done, untilMs: timeMs + KEPT_MS };
        repeats.keep(request.identity, kept);
        return writeAnswer(transaction, kept);
      },
    };
  };
}

/** A knock whose checks are answered again. */
interface Kept {
  /** The address and the port that it came from. */
  readonly source: Endpoint;
  readonly password: string;
  /** False: refused by policy, or failed. */
  readonly done: boolean;
  /** Unix milliseconds. */
  readonly untilMs: number;
}

/** Answers for repeated checks, in bounded memory and without Noise. */
export class Repeats {
  readonly #kept = new Map<string, Kept>();

  /** Keeps a knock that was answered, by its identity. */
  keep(identity: Uint8Array, kept: Kept): void {
    if (this.#kept.size >= MAX_KEPT) {
      this.#kept.delete(this.#kept.keys().next().value!);
    }
    this.#kept.set(identity.toHex(), kept);
  }

  /**
   * The answer to a check that repeats a kept knock: from the same address and
   * port, with good integrity, in time. Null for every other datagram.
   */
  find(
    datagram: Uint8Array,
    source: Endpoint,
    nowMs: number,
  ): Uint8Array<ArrayBuffer> | null {
    if (this.#kept.size === 0) return null;
    const read = readWebPacket(datagram);
    if (!read) return null;
    const key = webIdentity(read).toHex();
    const kept = this.#kept.get(key);
    if (!kept) return null;
    if (nowMs > kept.untilMs) {
      this.#kept.delete(key);
      return null;
    }
    const { host, port } = kept.source;
    if (host !== source.host || port !== source.port) return null;
    if (!holds(datagram, read.check, kept.password)) return null;
    return writeAnswer(read.check.transaction, kept);
  }
}

function writeAnswer(
  transaction: Uint8Array,
  { source, password, done }: Kept,
): Uint8Array<ArrayBuffer> {
  return done
    ? successAnswer(transaction, source, password)
    : errorAnswer(transaction, password);
}
