/** openme's keys in text: base64 with padding. */

import { createHash } from "node:crypto";
import { formatBase64, parseBase64 } from "../../values/bytes.ts";
import { SIGNING_KEY_SIZE, verifyingKeyOf } from "../crypto/curve25519.ts";

const FINGERPRINT_SIZE = 8;

/** Reads a key of 32 bytes that is not all zero; null if it is none. */
export function parseOpenmeKey(text: string): Uint8Array | null {
  const bytes = parseBase64(text, { size: SIGNING_KEY_SIZE });
  return bytes?.some((byte) => byte !== 0) ? bytes : null;
}

/**
 * Reads a client's private key and returns its seed, 32 bytes: the key is the
 * seed alone, or the seed and the public key that belongs to it. Null if it
 * is neither.
 */
export function parseOpenmeSeed(text: string): Uint8Array | null {
  const bytes = parseBase64(text);
  if (bytes?.length === SIGNING_KEY_SIZE) return bytes;
  if (bytes?.length !== 2 * SIGNING_KEY_SIZE) return null;
  const seed = bytes.slice(0, SIGNING_KEY_SIZE);
  return formatOpenmeSeed(seed) === text ? seed : null;
}

/** Writes a client's private key as every client of openme takes it, 64 bytes. */
export function formatOpenmeSeed(seed: Uint8Array): string {
  const both = new Uint8Array(2 * SIGNING_KEY_SIZE);
  both.set(seed);
  both.set(verifyingKeyOf(seed), SIGNING_KEY_SIZE);
  return formatBase64(both);
}

/** The fingerprint by which openme shows a public key: 16 hexadecimal digits. */
export function openmeFingerprint(key: Uint8Array): string {
  return createHash("sha256").update(key).digest()
    .subarray(0, FINGERPRINT_SIZE).toString("hex");
}
