/**
 * The web form of knock/1, the server's side: 186 bytes in base64 as the ufrag
 * of a browser's connectivity check, and the password that both ends derive
 * from the handshake. Opens checks, answers them, and answers those that a
 * browser repeats. docs/protocol.md §10. The time is an argument.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import type { Endpoint } from "../../../values/address.ts";
import { concat, formatBareBase64 } from "../../../values/bytes.ts";
import { KEY_SIZE, type KeyPair } from "../../crypto/curve25519.ts";
import { hmac } from "../../crypto/hash.ts";
import { type Opened, refuse, type Scene } from "../../dialect.ts";
import {
  beginHandshake,
  type HandshakeState,
  type Initiator,
  readMessage1,
} from "../noise.ts";
import { decodeKnock } from "../payload.ts";
import { currentTags, MAC_SIZE, macOf } from "../tag.ts";
import {
  type Check,
  errorAnswer,
  holds,
  readCheck,
  successAnswer,
} from "./stun.ts";

/** Bytes of every knock in the web form: 62 times 3, so that base64 needs no padding. */
export const WEB_SIZE = 186;
/** Bytes of its payload: that of knock/1 with 32 bytes of items. */
const WEB_PAYLOAD_SIZE = 68;
/** Bytes of its tag: the first of the minute's tag of knock/1. */
export const WEB_TAG_SIZE = 6;

/** Longest time that a check is answered again, milliseconds. */
const KEPT_MS = 10_000;
/** Most knocks whose checks are answered again; beyond them the oldest goes. */
const MAX_KEPT = 1024;

export const WEB_MAC_AT = WEB_SIZE - MAC_SIZE;
const PROLOGUE = new TextEncoder().encode("knock/1 web");
const MAC_LABEL = "knock/1 web mac";
const PWD_LABEL = new TextEncoder().encode("knock/1 web pwd");
/** USERNAME is the remote ufrag, a colon, and the local ufrag of 4 or more. RFC 8445 §5.3. */
const USERNAME = /^([A-Za-z0-9+/]{248}):[A-Za-z0-9+/]{4,256}$/;

/** A knock taken out of a check. */
interface WebPacket {
  /** 186 bytes. */
  readonly packet: Uint8Array;
  readonly check: Check;
}

/** Reads the knock in a datagram; null if it has not the form of one. */
export function readWebPacket(datagram: Uint8Array): WebPacket | null {
  const check = readCheck(datagram);
  const ufrag = check && USERNAME.exec(check.username)?.[1];
  return ufrag ? { packet: Uint8Array.fromBase64(ufrag), check } : null;
}

/** The identity of a knock for replay: its ephemeral key, 32 bytes, copied. */
export function webIdentity({ packet }: WebPacket): Uint8Array {
  return packet.slice(WEB_TAG_SIZE, WEB_TAG_SIZE + KEY_SIZE);
}

/** The base64 text, 8 characters, that a ufrag begins with in a minute: for the prefilter. */
export function webTagText(tag: Uint8Array): string {
  return tag.subarray(0, WEB_TAG_SIZE).toBase64();
}

/** A client that may knock from a browser, as the responder of Noise sees it. */
export interface WebInitiator extends Initiator {
  readonly name: string;
}

/**
 * Makes the opener of first checks: a request, the password of its checks and
 * answers, 43 characters, and the check's transaction id, 12 bytes. `find`
 * looks up a client that may knock from a browser by its public key, 32 bytes;
 * null for all others.
 */
export function webOpener(
  own: KeyPair,
  maxSkewMs: number,
  find: (publicKey: Uint8Array) => WebInitiator | null,
) {
  const mac = webMacOf(own.publicKey);
  const findTag = currentTags(
    own.publicKey,
    maxSkewMs,
    (tag) => beginWeb(tag.subarray(0, WEB_TAG_SIZE), own.publicKey),
    WEB_TAG_SIZE,
  );
  return (datagram: Uint8Array, scene: Scene) => {
    const read = readWebPacket(datagram);
    if (!read) return refuse("form");
    const { packet, check } = read;
    const begun = findTag(packet, scene.nowMs);
    if (!begun) return refuse("tag");
    const proof = mac(packet.subarray(0, WEB_MAC_AT));
    if (!timingSafeEqual(proof, packet.subarray(WEB_MAC_AT))) {
      return refuse("mac");
    }
    const identity = webIdentity(read);
    if (scene.seen(identity)) return refuse("replay");
    if (!scene.mayCost()) return refuse("rate");

    const message = packet.subarray(WEB_TAG_SIZE, WEB_MAC_AT);
    const opened = readMessage1(begun, own, message, find);
    if (!opened.ok) {
      if (opened.why === "unknown") return refuse("unknown client");
      return refuse("noise", opened.initiator?.name);
    }
    const client = opened.initiator.name;
    // Only the two ends can compute it.
    const password = formatBareBase64(
      hmac("sha256", opened.chain.ck)(PWD_LABEL),
    );
    if (!holds(datagram, check, password)) return refuse("integrity", client);
    const knock = decodeKnock(opened.payload, WEB_PAYLOAD_SIZE);
    if (!knock?.wantsReply) return refuse("payload", client);
    const request = { dialect: "knock", client, ...knock, identity } as const;
    const { transaction } = check;
    return { ok: true, request, password, transaction } as const;
  };
}

/** Begins the handshake of a tag, 6 bytes. */
export function beginWeb(
  tag: Uint8Array,
  serverPublic: Uint8Array,
): HandshakeState {
  return beginHandshake(concat(PROLOGUE, tag), serverPublic);
}

/** Makes the function that computes the mac, 16 bytes, over what precedes it. */
export function webMacOf(
  serverPublic: Uint8Array,
): (covered: Uint8Array) => Uint8Array {
  return macOf(serverPublic, MAC_LABEL);
}

/** Makes the server's side: a {@linkcode webOpener}, and the answers to checks and their repeats. */
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
