/**
 * The encryption of fwknop: AES-256 with a key and an IV drawn from a
 * passphrase and a salt, as `openssl enc -md md5` does, in six modes.
 * @module
 */

import { concat } from "../../values/bytes.ts";
import { createCipheriv, createDecipheriv } from "node:crypto";
import { digest } from "../crypto/hash.ts";
import type { CipherMode } from "./keys.ts";

/** Bytes of an AES block, and of the IV. */
export const BLOCK_SIZE = 16;
/** Bytes of the salt before the ciphertext. */
export const SALT_SIZE = 8;

const LEGACY_KEY_SIZE = 16;
const LEGACY_FILLER = "0".charCodeAt(0);

/** Encrypts under a passphrase of raw bytes; returns the ciphertext without the salt. */
export function encrypt(
  mode: CipherMode,
  passphrase: Uint8Array,
  salt: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return CIPHERS[mode].encrypt(
    deriveKey(mode, passphrase, salt),
    pad(plaintext),
  );
}

/**
 * Decrypts whole blocks. A wrong key gives other bytes, not an error. Padding
 * that is not well formed stays: old clients on Android send none when their
 * text fills the last block.
 */
export function decrypt(
  mode: CipherMode,
  passphrase: Uint8Array,
  salt: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  return unpad(
    CIPHERS[mode].decrypt(deriveKey(mode, passphrase, salt), ciphertext),
  );
}

interface Key {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

interface Cipher {
  readonly encrypt: (key: Key, blocks: Uint8Array) => Uint8Array<ArrayBuffer>;
  readonly decrypt: (key: Key, blocks: Uint8Array) => Uint8Array<ArrayBuffer>;
}

/** EVP_BytesToKey of OpenSSL with MD5 and one round. */
function deriveKey(
  mode: CipherMode,
  passphrase: Uint8Array,
  salt: Uint8Array,
): Key {
  let secret = passphrase;
  if (mode === "legacy") {
    secret = new Uint8Array(LEGACY_KEY_SIZE).fill(LEGACY_FILLER);
    secret.set(passphrase.subarray(0, LEGACY_KEY_SIZE));
  }
  const first = digest("md5", secret, salt);
  const second = digest("md5", first, secret, salt);
  const iv = digest("md5", second, secret, salt);
  return { key: concat(first, second), iv };
}

const cbc = native("cbc");
const ecb = native("ecb");
const ctr = native("ctr");

// Deno has no OFB and no CFB. The key stream of OFB is CBC over zeros.
const mask: Cipher["encrypt"] = (key, blocks) =>
  xor(blocks, cbc.encrypt(key, new Uint8Array(blocks.length)));
const ofb: Cipher = { encrypt: mask, decrypt: mask };

// CFB masks each block with the encryption of the ciphertext before it.
const cfb: Cipher = {
  encrypt: (key, blocks) => {
    const out = new Uint8Array(blocks.length);
    let before = key.iv;
    for (let at = 0; at < blocks.length; at += BLOCK_SIZE) {
      const block = blocks.subarray(at, at + BLOCK_SIZE);
      before = xor(block, ecb.encrypt(key, before));
      out.set(before, at);
    }
    return out;
  },
  decrypt: (key, blocks) =>
    xor(
      blocks,
      ecb.encrypt(key, concat(key.iv, blocks.subarray(0, -BLOCK_SIZE))),
    ),
};

const CIPHERS: Readonly<Record<CipherMode, Cipher>> = {
  cbc,
  ctr,
  cfb,
  ofb,
  ecb,
  legacy: cbc,
};

/** A mode that node:crypto has. */
function native(mode: "cbc" | "ecb" | "ctr"): Cipher {
  const name = `aes-256-${mode}`;
  const ivOf = ({ iv }: Key) => mode === "ecb" ? null : iv;
  return {
    encrypt: (key, blocks) =>
      run(createCipheriv(name, key.key, ivOf(key)), blocks),
    decrypt: (key, blocks) =>
      run(createDecipheriv(name, key.key, ivOf(key)), blocks),
  };
}

function run(
  cipher: ReturnType<typeof createCipheriv | typeof createDecipheriv>,
  blocks: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return concat(cipher.setAutoPadding(false).update(blocks), cipher.final());
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(a, (byte, index) => byte ^ b[index]!);
}

/** PKCS #7 (RFC 5652 §6.3); all modes pad, those of streams too. */
function pad(plaintext: Uint8Array): Uint8Array {
  const count = BLOCK_SIZE - plaintext.length % BLOCK_SIZE;
  return concat(plaintext, new Uint8Array(count).fill(count));
}

function unpad(padded: Uint8Array): Uint8Array {
  const count = padded.at(-1) ?? 0;
  if (count < 1 || count > BLOCK_SIZE) return padded;
  const filler = padded.subarray(padded.length - count);
  return filler.every((byte) => byte === count)
    ? padded.subarray(0, padded.length - count)
    : padded;
}
