/**
 * Hashes, and HMAC (RFC 2104) over them, in the quickest ways that node:crypto
 * has. fwknop has an unkeyed digest inside the encryption, which is a checksum,
 * and an HMAC around it, which is the proof.
 * @module
 */

import { hash } from "node:crypto";
import { base64Length, concat, formatBareBase64 } from "../../values/bytes.ts";

/** Bytes of each hash and of its blocks (RFC 1321, FIPS 180-4, FIPS 202). */
const SIZES = {
  "md5": { digest: 16, block: 64 },
  "sha1": { digest: 20, block: 64 },
  "sha256": { digest: 32, block: 64 },
  "sha384": { digest: 48, block: 128 },
  "sha512": { digest: 64, block: 128 },
  "sha3-256": { digest: 32, block: 136 },
  "sha3-512": { digest: 64, block: 72 },
} as const;

/** The hashes of fwknop 2.6, by the names of our configuration. */
export type DigestType = keyof typeof SIZES;

/** Every hash, in the order in which fwknop tries those of one size. */
export const DIGEST_TYPES = Object.keys(SIZES) as readonly DigestType[];

/** The longest key of an HMAC, in bytes. */
export const MAX_HMAC_KEY_SIZE = 128;

/** Computes a hash of the parts one after the other. */
export function digest(
  type: DigestType,
  ...parts: readonly Uint8Array[]
): Uint8Array {
  // Under Deno a digest in hexadecimal costs 1.6 us with its way back, one in
  // a buffer 2.3; under Bun it makes no difference.
  return Uint8Array.fromHex(hash(type, concat(...parts), "hex"));
}

/** Computes the SHA-256, 32 bytes, of the parts one after the other. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return digest("sha256", ...parts);
}

/** Number of base64 characters, without padding, of a hash of this type. */
export function digestLength(type: DigestType): number {
  return base64Length(SIZES[type].digest);
}

/**
 * Finds the type of the checksum, base64 text, of a body: the length tells
 * which it may be. Null if it is the checksum of another body.
 */
export function checksumType(
  body: Uint8Array,
  checksum: string,
): DigestType | null {
  return DIGEST_TYPES.find((type) =>
    digestLength(type) === checksum.length &&
    formatBareBase64(digest(type, body)) === checksum
  ) ?? null;
}

/**
 * Makes the HMAC of one key, of any length, for many messages: what depends on
 * the key alone is kept, which halves the cost of createHmac under Deno. It
 * works in memory of its own: allocating takes longer than hashing here.
 */
export function hmac(
  type: DigestType,
  key: Uint8Array,
): (message: Uint8Array) => Uint8Array {
  const { block, digest: size } = SIZES[type];
  let inner = new Uint8Array(block + COMMON_SIZE);
  const outer = new Uint8Array(block + size);
  const middle = outer.subarray(block);
  pad(keyBlock(type, key), inner, outer);
  return (message) => {
    const end = block + message.length;
    if (end > inner.length) inner = concat(inner.subarray(0, block), message);
    else inner.set(message, block);
    middle.setFromHex(hash(type, inner.subarray(0, end), "hex"));
    return Uint8Array.fromHex(hash(type, outer, "hex"));
  };
}

/** Bytes that most messages are within. */
const COMMON_SIZE = 512;

/** Bytes of a block of a hash. */
export function blockSize(type: DigestType): number {
  return SIZES[type].block;
}

/** Fills a key of an HMAC up to a block of its hash, which makes the same HMACs. */
export function keyBlock(type: DigestType, key: Uint8Array): Uint8Array {
  const { block } = SIZES[type];
  const filled = new Uint8Array(block);
  filled.set(key.length > block ? digest(type, key) : key);
  return filled;
}

/** Makes the HMAC of one message by many keys, each filled up by {@linkcode keyBlock}. */
export function hmacsOf(
  type: DigestType,
  message: Uint8Array,
): (filled: Uint8Array) => Uint8Array {
  const { block, digest: size } = SIZES[type];
  const inner = concat(new Uint8Array(block), message);
  const outer = new Uint8Array(block + size);
  const middle = outer.subarray(block);
  return (filled) => {
    pad(filled, inner, outer);
    middle.setFromHex(hash(type, inner, "hex"));
    return Uint8Array.fromHex(hash(type, outer, "hex"));
  };
}

/** Writes a filled key, as RFC 2104 wants it, before the message and before its hash. */
function pad(filled: Uint8Array, inner: Uint8Array, outer: Uint8Array): void {
  for (let at = 0; at < filled.length; at++) {
    inner[at] = filled[at]! ^ 0x36;
    outer[at] = filled[at]! ^ 0x5c;
  }
}
