/**
 * Hashes, and HMAC (RFC 2104) over them, in the quickest ways that node:crypto
 * has. fwknop has an unkeyed digest inside the encryption, which is a checksum,
 * and an HMAC around it, which is the proof.
 * @module
 */

import { hash } from "node:crypto";
import { base64Length, formatBareBase64 } from "../../values/bytes.ts";

/** Copies the parts into one, one after the other. */
export function concat(
  ...parts: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The hashes of fwknop 2.6, by the names of our configuration. */
export type DigestType =
  | "md5"
  | "sha1"
  | "sha256"
  | "sha384"
  | "sha512"
  | "sha3-256"
  | "sha3-512";

/** Bytes of each hash and of its blocks (RFC 1321, FIPS 180-4, FIPS 202). */
const SIZES: Readonly<Record<DigestType, { digest: number; block: number }>> = {
  "md5": { digest: 16, block: 64 },
  "sha1": { digest: 20, block: 64 },
  "sha256": { digest: 32, block: 64 },
  "sha384": { digest: 48, block: 128 },
  "sha512": { digest: 64, block: 128 },
  "sha3-256": { digest: 32, block: 136 },
  "sha3-512": { digest: 64, block: 72 },
};

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
  const short = key.length > block ? digest(type, key) : key;
  if (type === "sha256") return hmacSha256(short);
  let inner = new Uint8Array(block + COMMON_SIZE).fill(0x36, 0, block);
  const outer = new Uint8Array(block + size).fill(0x5c);
  const middle = outer.subarray(block);
  short.forEach((byte, index) => {
    inner[index] = byte ^ 0x36;
    outer[index] = byte ^ 0x5c;
  });
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

const BLOCK_SIZE = 64;
const DIGEST_SIZE = 32;

/**
 * Makes the HMAC-SHA-256 of one key of at most 64 bytes. Each packet of a flood
 * costs one of a few blocks: node:crypto takes three times as long for it under
 * Deno, as every call leaves JavaScript and allocates.
 */
function hmacSha256(
  key: Uint8Array,
): (message: Uint8Array) => Uint8Array {
  const inner = padded(key, 0x36);
  const outer = padded(key, 0x5c);
  return (message) => {
    finish(inner, message, MIDDLE);
    const mac = new Uint8Array(DIGEST_SIZE);
    finish(outer, MIDDLE, mac);
    return mac;
  };
}

/** The state of SHA-256 (FIPS 180-4) after the first block of an HMAC. */
function padded(key: Uint8Array, byte: number): Int32Array {
  const block = new Uint8Array(BLOCK_SIZE).fill(byte);
  key.forEach((value, index) => block[index] = byte ^ value);
  const state = FIRST_STATE.slice();
  compress(state, block, 0);
  return state;
}

// Memory of its own: allocating takes longer than hashing here.
const STATE = new Int32Array(8);
const MIDDLE = new Uint8Array(DIGEST_SIZE);
const LAST = new Uint8Array(2 * BLOCK_SIZE);

/** Hashes the rest of what began with one block that led to `begun`. */
function finish(
  begun: Int32Array,
  message: Uint8Array,
  digest: Uint8Array,
): void {
  STATE.set(begun);
  const { length } = message;
  let at = 0;
  for (; at + BLOCK_SIZE <= length; at += BLOCK_SIZE) {
    compress(STATE, message, at);
  }
  // The end: one bit, zeros, and the number of bits in eight bytes.
  const rest = length - at;
  const end = rest < BLOCK_SIZE - 8 ? BLOCK_SIZE : 2 * BLOCK_SIZE;
  for (let i = 0; i < end; i++) LAST[i] = i < rest ? message[at + i]! : 0;
  LAST[rest] = 0x80;
  const bits = 8 * (BLOCK_SIZE + length);
  for (let i = 1; i <= 4; i++) LAST[end - i] = bits >>> 8 * (i - 1);
  for (at = 0; at < end; at += BLOCK_SIZE) compress(STATE, LAST, at);
  for (let i = 0; i < DIGEST_SIZE; i++) {
    digest[i] = STATE[i >> 2]! >>> 24 - 8 * (i & 3);
  }
}

/** The first 32 bits of the fractions of the roots of the first primes. */
const FIRST_STATE = fractionsOf(8, Math.sqrt);
const ROUNDS = fractionsOf(64, Math.cbrt);

function fractionsOf(count: number, root: (of: number) => number): Int32Array {
  const primes: number[] = [];
  for (let number = 2; primes.length < count; number++) {
    if (primes.every((prime) => number % prime !== 0)) primes.push(number);
  }
  return Int32Array.from(primes, (prime) => root(prime) % 1 * 2 ** 32 | 0);
}

const SCHEDULE = new Int32Array(64);

/** The compression function of SHA-256: takes one block into the state. */
function compress(state: Int32Array, bytes: Uint8Array, at: number): void {
  const w = SCHEDULE;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 |
      bytes[at + 3]!;
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!;
    const y = w[i - 2]!;
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
    w[i] = w[i - 16]! + s0 + w[i - 7]! + s1 | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const t1 = h + s1 + (g ^ e & (f ^ g)) + ROUNDS[i]! + w[i]! | 0;
    const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^
      (a >>> 22 | a << 10);
    const t2 = s0 + (a & b | c & (a | b)) | 0;
    h = g, g = f, f = e, e = d + t1 | 0;
    d = c, c = b, b = a, a = t1 + t2 | 0;
  }
  state[0]! += a, state[1]! += b, state[2]! += c, state[3]! += d;
  state[4]! += e, state[5]! += f, state[6]! += g, state[7]! += h;
}
