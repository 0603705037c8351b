/** Sealing packets of fwknop's, as a client does. */

import { UsageError } from "../../values/errors.ts";
import { type CipherMode, encrypt } from "./cipher.ts";
import { type DigestType, hmac } from "../crypto/hash.ts";
import { DIGITS_SIZE, encodeMessage, type Message } from "./message.ts";
import {
  joinPacket,
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  writeSealed,
} from "./packet.ts";
import { type FwknopRequest, writeRequest } from "./request.ts";

/** What client and server share. */
export interface FwknopKeys {
  /** The passphrase, raw: 1 to 32 bytes, of text or of decoded base64. */
  readonly key: Uint8Array;
  readonly mode: CipherMode;
  /** Null: whatever decrypts is taken for the client's. */
  readonly hmac: {
    readonly type: DigestType;
    /** Raw, 1 to 128 bytes. No two clients share one. */
    readonly key: Uint8Array;
  } | null;
}

/** What must be fresh in every packet. */
export interface FwknopRandom {
  /** 8 bytes. */
  readonly salt: Uint8Array;
  /** 16 decimal digits. */
  readonly digits: string;
}

/** How many random bytes {@linkcode fwknopRandom} takes. */
export const RANDOM_SIZE = 16;

/** Makes what is fresh in a packet from 16 random bytes. */
export function fwknopRandom(random: Uint8Array): FwknopRandom {
  const view = new DataView(random.buffer, random.byteOffset, RANDOM_SIZE);
  const number = view.getBigUint64(8) % 10n ** BigInt(DIGITS_SIZE);
  return {
    salt: random.slice(0, 8),
    digits: `${number}`.padStart(DIGITS_SIZE, "0"),
  };
}

/**
 * Seals a packet made at `nowMs`, Unix milliseconds: 140 to 1500 bytes of
 * base64. Throws UsageError for a request that fwknop cannot express.
 */
export function sealFwknop(
  keys: FwknopKeys,
  request: FwknopRequest,
  random: FwknopRandom,
  nowMs: number,
): Uint8Array<ArrayBuffer> {
  return sealMessage(
    keys,
    writeRequest(request, random.digits, nowMs),
    random.salt,
  );
}

/** Seals any message. For tests and tools; others use {@linkcode sealFwknop}. */
export function sealMessage(
  keys: FwknopKeys,
  message: Message,
  salt: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const text = encodeMessage(message);
  const covered = writeSealed(salt, encrypt(keys.mode, keys.key, salt, text));
  const mac = keys.hmac
    ? hmac(keys.hmac.type, keys.hmac.key)(covered)
    : new Uint8Array();
  const packet = joinPacket({ covered, mac });
  if (packet.length < MIN_PACKET_SIZE || packet.length > MAX_PACKET_SIZE) {
    throw new UsageError(
      `a packet of fwknop's must have ${MIN_PACKET_SIZE} to ` +
        `${MAX_PACKET_SIZE} bytes, got "${packet.length}"`,
    );
  }
  return packet;
}
