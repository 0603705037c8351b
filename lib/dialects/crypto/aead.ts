/**
 * The symmetric half of Noise (revision 34) with AESGCM and SHA256: sealing,
 * and the keys to seal with. Pure. What does not prove itself is a returned
 * null, never a throw.
 * @module
 */

import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { concat } from "./sha256.ts";

/** Bytes that {@linkcode encrypt} adds to a text. */
export const TAG_SIZE = 16;

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
  const end = sealed.length - TAG_SIZE;
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
