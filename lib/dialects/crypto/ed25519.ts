/** Ed25519 (RFC 8032, pure) by node:crypto, with keys as raw bytes. */

import { Buffer } from "node:buffer";
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";

/** Bytes of a seed, which is the private key, and of a public key. */
export const SIGNING_KEY_SIZE = 32;
/** Bytes of a signature. */
export const SIGNATURE_SIZE = 64;

/** What stands before the seed in PKCS #8, RFC 8410 §7. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/** Makes 32 bytes of a seed ready to sign with. */
export function importSigningKey(seed: Uint8Array): KeyObject {
  return createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, seed]),
    format: "der",
    type: "pkcs8",
  });
}

/** Makes 32 bytes of a public key ready for use; null if they are no point. */
export function importVerifyingKey(bytes: Uint8Array): KeyObject | null {
  const x = bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  try {
    return createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x },
      format: "jwk",
    });
  } catch {
    return null;
  }
}

/** Computes the public key, 32 bytes, of a seed of 32 bytes. */
export function verifyingKeyOf(seed: Uint8Array): Uint8Array {
  const { x } = createPublicKey(importSigningKey(seed))
    .export({ format: "jwk" });
  return Uint8Array.fromBase64(x!, { alphabet: "base64url" });
}

/** Signs a message: 64 bytes, always the same. */
export function signEd25519(key: KeyObject, message: Uint8Array): Uint8Array {
  return sign(null, message, key);
}

/** Whether a signature is this key's over this message. Never throws. */
export function verifyEd25519(
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}
