/** ChaCha20-Poly1305 (RFC 8439 §2.8), without associated data. */

import { concat } from "../../values/bytes.ts";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import {
  createCipheriv,
  createDecipheriv,
  getCiphers,
  hkdfSync,
} from "node:crypto";

/** Bytes of a nonce. */
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

// The symmetric half of Noise (revision 34) with AESGCM and SHA256: sealing,
// and the keys to seal with. Pure. What does not prove itself is a returned
// null, never a throw.

/** Bytes that {@linkcode encrypt} adds to a text. */
export const NOISE_TAG_SIZE = 16;

/** Bytes of a hash, and of each key that {@linkcode derive} makes. */
const HASH_SIZE = 32;
const NOTHING = new Uint8Array(0);

/** AES-256-GCM as Noise has it (§12.4); returns the ciphertext and its 16-byte tag. */
export function encrypt(
  key: Uint8Array,
  counter: number,
  associated: Uint8Array,
  text: Uint8Array,
): Uint8Array {
  const aead = createCipheriv("aes-256-gcm", key, nonceOf(counter));
  aead.setAAD(associated);
  const sealed = aead.update(text);
  aead.final();
  return concat(sealed, aead.getAuthTag());
}

/** Opens what {@linkcode encrypt} sealed; null if any bit of it is not so. */
export function decrypt(
  key: Uint8Array,
  counter: number,
  associated: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | null {
  const end = sealed.length - NOISE_TAG_SIZE;
  if (end < 0) return null;
  const aead = createDecipheriv("aes-256-gcm", key, nonceOf(counter));
  aead.setAAD(associated);
  aead.setAuthTag(sealed.subarray(end));
  try {
    const text = aead.update(sealed.subarray(0, end));
    aead.final();
    return text;
  } catch {
    return null;
  }
}

type Keys<N extends 1 | 2 | 3> = N extends 1 ? [Uint8Array]
  : N extends 2 ? [Uint8Array, Uint8Array]
  : [Uint8Array, Uint8Array, Uint8Array];

/**
 * Noise's HKDF (§4.3), which is RFC 5869 with ck as the salt and no info: 1 to
 * 3 keys of 32 bytes. What nobody uses need not be computed: the k of a token
 * before another's.
 */
export function derive<N extends 1 | 2 | 3>(
  ck: Uint8Array,
  material: Uint8Array,
  count: N,
): Keys<N> {
  const all = hkdfSync("sha256", material, ck, NOTHING, count * HASH_SIZE);
  const keys: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    keys.push(new Uint8Array(all, i * HASH_SIZE, HASH_SIZE));
  }
  return keys as Keys<N>;
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter));
  return nonce;
}
