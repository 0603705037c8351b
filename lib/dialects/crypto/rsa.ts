/**
 * RSA as OpenSPA uses it, the same in every runtime: RSAES-PKCS1-v1_5 with
 * the padding put on and taken off here, since Bun does not take it off, and
 * since a wrong padding must not be distinguishable from a right one.
 * @module
 */

import { concat } from "../../values/bytes.ts";
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  sign,
  verify,
} from "node:crypto";
import { hmac, sha256 } from "./hash.ts";

/** An RSA key, ready for use. */
export type RsaKey = KeyObject;

/** Bytes of a session: an AES IV of 16 and a key of 32. */
export const SESSION_SIZE = 48;
/** The shortest modulus that is safe today, in bits. */
const MIN_MODULUS_BITS = 2048;
/** The longest whose packets fit a datagram of OpenSPA, in bits. */
const MAX_MODULUS_BITS = 4096;

/** RFC 8017 §7.2.1: 00 02, at least 8 bytes that are not zero, 00. */
const HEAD_SIZE = 2;
const BLOCK_TYPE = 2;
const RAW = constants.RSA_NO_PADDING;
/** Most opened sessions kept. */
const MAX_KEPT = 1024;

/** Reads a private key in PEM; null if it is none of RSA with a good size. */
export function parseRsaPrivateKey(pem: string): KeyObject | null {
  return pem.includes("PRIVATE KEY-----")
    ? rsaOnly(() => createPrivateKey(pem))
    : null;
}

/** Reads a public key in PEM; null if it is none of RSA with a good size. */
export function parseRsaPublicKey(pem: string): KeyObject | null {
  // A private key would be taken too, and is in the wrong hands here.
  return pem.includes("PUBLIC KEY-----") && !pem.includes("PRIVATE KEY-----")
    ? rsaOnly(() => createPublicKey(pem))
    : null;
}

/** Writes the public key of a private one in PEM (SPKI), with a newline at its end. */
export function rsaPublicPem(key: RsaKey): string {
  const pem = createPublicKey(key).export({ format: "pem", type: "spki" });
  return String(pem);
}

/** Bytes of a key's modulus, and so of what is encrypted or signed with it. */
export function modulusSize(key: KeyObject): number {
  return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
}

/** Signs by RSASSA-PKCS1-v1_5 with SHA-256. */
export function signRsa(key: KeyObject, message: Uint8Array): Uint8Array {
  return sign("sha256", message, key);
}

/** True if a signature is this key's over this message. Never throws. */
export function verifyRsa(
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return verify("sha256", message, key, signature);
  } catch {
    return false;
  }
}

/**
 * Encrypts a session, 48 bytes, for a public key. `padding` yields fresh
 * random bytes, none of them zero.
 */
export function sealSession(
  key: KeyObject,
  session: Uint8Array,
  padding: (size: number) => Uint8Array,
): Uint8Array {
  const fill = modulusSize(key) - HEAD_SIZE - 1 - SESSION_SIZE;
  const block = concat(
    Uint8Array.of(0, BLOCK_TYPE),
    padding(fill),
    Uint8Array.of(0),
    session,
  );
  return publicEncrypt({ key, padding: RAW }, block);
}

/** A private key that opens sessions. */
export class SessionOpener {
  /** Bytes of a session that is encrypted for this key. */
  readonly size: number;
  readonly #key: KeyObject;
  readonly #substitute: (sealed: Uint8Array) => Uint8Array;
  readonly #kept = new Map<string, Uint8Array>();

  constructor(key: KeyObject) {
    this.#key = key;
    this.size = modulusSize(key);
    const secret = sha256(key.export({ format: "der", type: "pkcs8" }));
    const authenticate = hmac("sha256", secret);
    this.#substitute = (sealed) =>
      concat(
        authenticate(concat(sealed, Uint8Array.of(1))),
        authenticate(concat(sealed, Uint8Array.of(2))),
      ).subarray(0, SESSION_SIZE);
  }

  /**
   * Opens a session, 48 bytes; null if it was never encrypted for this key's
   * size. A wrong padding gives unpredictable bytes, at the same
   * cost as a right one (RFC 5246 §7.4.7.1), so it reveals nothing of the key.
   * What was kept costs nothing.
   */
  open(sealed: Uint8Array): Uint8Array | null {
    if (sealed.length !== this.size) return null;
    const kept = this.kept(sealed);
    if (kept) return kept;
    let block: Uint8Array;
    try {
      block = privateDecrypt({ key: this.#key, padding: RAW }, sealed);
    } catch {
      return null; // not below the modulus: anybody can see that
    }
    if (block.length !== this.size) return null;
    return unpad(block, this.#substitute(sealed));
  }

  /** The session that was kept, if this one was. */
  kept(sealed: Uint8Array): Uint8Array | undefined {
    return this.#kept.get(sealed.toHex());
  }

  /**
   * Keeps the session of a packet that proved its sender, so that copies of
   * it do not cost the private key's work again.
   */
  keep(sealed: Uint8Array, session: Uint8Array): void {
    this.#kept.set(sealed.toHex(), session);
    if (this.#kept.size <= MAX_KEPT) return;
    this.#kept.delete(this.#kept.keys().next().value!);
  }
}

// The same steps for every block: no branch and no index depends on a secret.
function unpad(block: Uint8Array, substitute: Uint8Array): Uint8Array {
  const start = block.length - SESSION_SIZE;
  let fault = block[0]! | (block[1]! ^ BLOCK_TYPE) | block[start - 1]!;
  for (let at = HEAD_SIZE; at < start - 1; at++) {
    fault |= (block[at]! - 1) >>> 31; // 1 where the byte is zero
  }
  const wrong = ((fault | -fault) >> 31) & 0xff; // 0, or 0xff on any fault
  const session = new Uint8Array(SESSION_SIZE);
  for (let at = 0; at < SESSION_SIZE; at++) {
    session[at] = (block[start + at]! & ~wrong) | (substitute[at]! & wrong);
  }
  return session;
}

function rsaOnly(read: () => KeyObject): KeyObject | null {
  try {
    const key = read();
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    const fits = bits >= MIN_MODULUS_BITS && bits <= MAX_MODULUS_BITS;
    return key.asymmetricKeyType === "rsa" && fits ? key : null;
  } catch {
    return null;
  }
}
