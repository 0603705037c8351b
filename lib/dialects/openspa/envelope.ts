/**
 * The envelope of OpenSPA, the same for requests and responses:
 *
 *     0  1  control: type, version
 *     1  1  transaction
 *     2  1  cipher suite
 *     3  1  zero
 *     4  4  ADK proof, 0 in responses
 *     8     items: 1 AES-256-CBC of (1 packet, 3 nonce, 2 signature),
 *                  2 RSA of the session
 *
 * The signature covers the 8 bytes of the header and the packet.
 * @module
 */

import { concat } from "../../values/bytes.ts";
import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import {
  sealSession,
  SESSION_SIZE,
  type SessionOpener,
  signRsa,
  verifyRsa,
} from "../crypto/rsa.ts";
import { readItems, writeItems } from "./tlv.ts";

export const HEADER_SIZE = 8;

export interface Header {
  readonly type: "request" | "response";
  /** 2 is the version that is spoken here. */
  readonly version: number;
  /** 0 to 255, chosen by the client. */
  readonly transaction: number;
  /** 1 is the one suite that there is. */
  readonly suite: number;
  /** 0 = none. */
  readonly adkProof: number;
}

/** Contents of an envelope; not authenticated before {@linkcode isSigned}. */
interface Letter {
  /** The header and the packet, which the signature covers. */
  readonly signed: Uint8Array;
  readonly packet: Uint8Array;
  readonly signature: Uint8Array;
  /** The session, sealed and open, to be kept once it proved its sender. */
  readonly sealedSession: Uint8Array;
  readonly session: Uint8Array;
}

// Types of items: in an envelope …
const CIPHERTEXT = 1;
const SESSION = 2;
// … and in what is sealed.
const PACKET = 1;
const SIGNATURE = 2;
const NONCE = 3;

const AES = "aes-256-cbc";
const IV_SIZE = 16;
const BLOCK_SIZE = 16;
const MIN_NONCE_SIZE = 3;
/** With this, packets are as long as those of other implementations. */
const NONCE_SIZE = 8;

const RESPONSE_BIT = 0x80;
const VERSION_SHIFT = 4;
const VERSION_MASK = 7;

const EXPAND_INFO = "openspa envelope";
const SECRETS_SIZE = SESSION_SIZE + NONCE_SIZE;
/** Most that HKDF-SHA256 yields: enough for a padding of 4096 bits, twice. */
const EXPAND_SIZE = 2048;

/** Reads a header; null if there are no 8 bytes of it. */
export function readHeader(packet: Uint8Array): Header | null {
  if (packet.length < HEADER_SIZE) return null;
  const control = packet[0]!;
  const view = new DataView(packet.buffer, packet.byteOffset, HEADER_SIZE);
  return {
    type: control & RESPONSE_BIT ? "response" : "request",
    version: control >> VERSION_SHIFT & VERSION_MASK,
    transaction: packet[1]!,
    suite: packet[2]!,
    adkProof: view.getUint32(4),
  };
}

/** Writes a header, 8 bytes. */
export function writeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  bytes[0] = (header.type === "response" ? RESPONSE_BIT : 0) |
    header.version << VERSION_SHIFT;
  bytes[1] = header.transaction;
  bytes[2] = header.suite;
  new DataView(bytes.buffer).setUint32(4, header.adkProof);
  return bytes;
}

/** Seals a packet's items; `random` is 32 fresh bytes, for this packet alone. */
export function sealEnvelope(
  header: Uint8Array,
  packet: Uint8Array,
  sender: KeyObject,
  receiver: KeyObject,
  random: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const fresh = new Uint8Array(
    hkdfSync("sha256", random, new Uint8Array(0), EXPAND_INFO, EXPAND_SIZE),
  );
  const session = fresh.subarray(0, SESSION_SIZE);
  const nonce = fresh.subarray(SESSION_SIZE, SECRETS_SIZE);
  const notZero = fresh.subarray(SECRETS_SIZE).filter((byte) => byte !== 0);
  const sealedSession = sealSession(
    receiver,
    session,
    (size) => notZero.subarray(0, size),
  );
  const plaintext = writeItems(
    [PACKET, packet],
    [NONCE, nonce],
    [SIGNATURE, signRsa(sender, concat(header, packet))],
  );
  const aes = createCipheriv(AES, ...splitSession(session));
  const ciphertext = concat(aes.update(plaintext), aes.final());
  return concat(
    header,
    writeItems([CIPHERTEXT, ciphertext], [SESSION, sealedSession]),
  );
}

/**
 * Opens an envelope, or says why it cannot. A session that was not encrypted
 * properly ends like a ciphertext that was changed: it is "cipher". `mayCost`
 * is asked before the private key is used.
 */
export function openEnvelope(
  bytes: Uint8Array,
  opener: SessionOpener,
  mayCost: () => boolean = () => true,
): Letter | "form" | "rate" | "cipher" | "payload" {
  const outer = readItems(bytes.subarray(HEADER_SIZE));
  const ciphertext = outer?.get(CIPHERTEXT);
  const sealedSession = outer?.get(SESSION);
  if (!ciphertext || sealedSession?.length !== opener.size) return "form";
  if (ciphertext.length === 0 || ciphertext.length % BLOCK_SIZE !== 0) {
    return "form";
  }
  if (!opener.kept(sealedSession) && !mayCost()) return "rate";
  const session = opener.open(sealedSession);
  const plaintext = session && decrypt(session, ciphertext);
  const inner = plaintext && readItems(plaintext);
  if (!inner) return "cipher";
  const packet = inner.get(PACKET);
  const signature = inner.get(SIGNATURE);
  const nonce = inner.get(NONCE);
  if (!packet || !signature || !nonce || nonce.length < MIN_NONCE_SIZE) {
    return "payload";
  }
  const signed = concat(bytes.subarray(0, HEADER_SIZE), packet);
  return { signed, packet, signature, sealedSession, session };
}

export function isSigned(letter: Letter, sender: KeyObject): boolean {
  return verifyRsa(sender, letter.signed, letter.signature);
}

function decrypt(
  session: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | null {
  try {
    const aes = createDecipheriv(AES, ...splitSession(session));
    return concat(aes.update(ciphertext), aes.final());
  } catch {
    return null;
  }
}

function splitSession(
  session: Uint8Array,
): [key: Uint8Array, iv: Uint8Array] {
  return [session.subarray(IV_SIZE), session.subarray(0, IV_SIZE)];
}
