/** ChaCha20-Poly1305 (RFC 8439 §2.8), without associated data. */

import { concat } from "../../values/bytes.ts";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { createCipheriv, createDecipheriv, getCiphers } from "node:crypto";

export const NONCE_SIZE = 12;
/** Bytes of a tag, behind the ciphertext. */
export const TAG_SIZE = 16;

const NAME = "chacha20-poly1305";
/** Bun's node:crypto lacks it. */
const NATIVE = getCiphers().includes(NAME);

/** Seals a plaintext: its ciphertext ‖ tag. The key has 32 bytes. */
export function sealChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  if (!NATIVE) return chacha20poly1305(key, nonce).encrypt(plaintext);
  const cipher = createCipheriv(NAME, key, nonce, { authTagLength: TAG_SIZE });
  const sealed = cipher.update(plaintext);
  cipher.final();
  return concat(sealed, cipher.getAuthTag());
}

/** Opens ciphertext ‖ tag; null if the tag does not match. */
export function openChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | null {
  const end = sealed.length - TAG_SIZE;
  if (end < 0) return null;
  try {
    if (!NATIVE) return chacha20poly1305(key, nonce).decrypt(sealed);
    const cipher = createDecipheriv(NAME, key, nonce, {
      authTagLength: TAG_SIZE,
    });
    cipher.setAuthTag(sealed.subarray(end));
    const plaintext = cipher.update(sealed.subarray(0, end));
    cipher.final(); // throws if the tag does not match
    return plaintext;
  } catch {
    return null;
  }
}
