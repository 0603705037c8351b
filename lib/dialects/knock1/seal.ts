/** Sealing in knock/1: the client's side, and the keys it takes. */

import { concat } from "../../values/bytes.ts";
import type { Answer, Sealer } from "../dialect.ts";
import { UsageError } from "../../values/errors.ts";
import { importPublicKey, keyPairOf } from "../crypto/curve25519.ts";
import { begin, readMessage2, writeMessage1 } from "./noise.ts";
import { decodeReply, encodeKnock, type Knock } from "./payload.ts";
import { macOf, REPLY_SIZE, tagOf, windowOf } from "./tag.ts";

/** Bytes of an ephemeral private key. */
const EPHEMERAL_SIZE = 32;

/** Seals knocks with a profile's keys. */
export function knockSealer(keys: Omit<Knock1Keys, "ephemeral">): Sealer {
  return {
    dialect: "knock",
    answers: true,
    seal: (ask, { nowMs, random, wantsReply }) =>
      sealKnock(
        { ...keys, ephemeral: random(EPHEMERAL_SIZE) },
        { ...ask, wantsReply },
        nowMs,
      ),
  };
}

/** Keys of a client, 32 bytes each. */
export interface Knock1Keys {
  /** X25519 public key of the server. */
  readonly server: Uint8Array;
  /** X25519 private key of the client. */
  readonly key: Uint8Array;
  /** Pre-shared key. */
  readonly psk: Uint8Array;
  /** Fresh random bytes for every packet, including retries: never reuse them. */
  readonly ephemeral: Uint8Array;
}

/** Sealed knock, and the way to read its reply. */
export interface SealedKnock {
  /** Datagram to send, 216 bytes. */
  readonly packet: Uint8Array<ArrayBuffer>;
  /** Opens the reply to this packet; null for any other bytes. Never throws. */
  openReply(bytes: Uint8Array): Answer | null;
}

/** Seals any payload in any window, for tests with vectors; use {@linkcode sealKnock} otherwise. */
export function sealPayload(
  keys: Knock1Keys,
  payload: Uint8Array,
  window: number,
): SealedKnock {
  const own = keyPairOf(keys.key);
  const ephemeral = keyPairOf(keys.ephemeral);
  const responder = importPublicKey(keys.server);
  const tag = tagOf(keys.server, window);
  const sent = writeMessage1(
    begin(tag, keys.server),
    { own, ephemeral, responder, psk: keys.psk },
    payload,
  );
  if (!sent) throw new UsageError("the server's public key is not usable");

  const covered = concat(tag, sent.message);
  const packet = concat(covered, macOf(keys.server)(covered));
  return {
    packet,
    openReply(bytes) {
      if (bytes.length !== REPLY_SIZE) return null;
      const read = readMessage2(sent.chain, { ephemeral, static: own }, bytes);
      return read && decodeReply(read.payload);
    },
  };
}

/**
 * Seals a knock made at `nowMs`, Unix milliseconds (docs/protocol.md §4, §5).
 * Throws {@linkcode UsageError} if the request does not fit into a packet or
 * the server's public key is unusable.
 *
 * @example
 * ```ts
 * import { PACKET_SIZE, publicKeyOf, sealKnock } from "@knock/knock/protocol";
 * import { assertEquals } from "@std/assert";
 *
 * const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
 * const { packet, openReply } = sealKnock(
 *   {
 *     server: publicKeyOf(random(32)),
 *     key: random(32),
 *     psk: random(32),
 *     ephemeral: random(32),
 *   },
 *   {
 *     action: "open",
 *     ports: [{ protocol: "tcp", first: 22, last: 22 }],
 *     command: null,
 *     seconds: 3600,
 *     address: null, // the address that the packet comes from
 *     code: null,
 *     wantsReply: true,
 *   },
 *   Date.now(),
 * );
 * assertEquals(packet.length, PACKET_SIZE);
 * assertEquals(openReply(new Uint8Array(80)), null);
 * ```
 */
export function sealKnock(
  keys: Knock1Keys,
  request: Omit<Knock, "timestampMs">,
  nowMs: number,
): SealedKnock {
  return sealPayload(
    keys,
    encodeKnock({ ...request, timestampMs: nowMs }),
    windowOf(nowMs),
  );
}
