/** SHA-256, and HMAC over it, in the quickest ways that node:crypto has. */

import { hash } from "node:crypto";

const BLOCK_SIZE = 64;
const DIGEST_SIZE = 32;

/** Computes the SHA-256, 32 bytes, of the parts one after the other. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  // Under Deno a digest in hexadecimal costs 1.6 us with its way back, one in
  // a buffer 2.3; under Bun it makes no difference.
  return Uint8Array.fromHex(hash("sha256", concat(...parts), "hex"));
}

/**
 * Makes the HMAC-SHA-256 (RFC 2104) of one key of at most 64 bytes, for many
 * messages: what depends on the key alone is kept, which halves the cost of
 * createHmac under Deno.
 */
export function hmacSha256(
  key: Uint8Array,
): (message: Uint8Array) => Uint8Array {
  const inner = new Uint8Array(BLOCK_SIZE).fill(0x36);
  const outer = new Uint8Array(BLOCK_SIZE + DIGEST_SIZE).fill(0x5c);
  key.forEach((byte, index) => {
    inner[index] = byte ^ 0x36;
    outer[index] = byte ^ 0x5c;
  });
  return (message) => {
    outer.set(sha256(inner, message), BLOCK_SIZE);
    return sha256(outer);
  };
}

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
