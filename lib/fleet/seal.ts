/**
 * Values of a fleet, sealed under its secret: whoever can only write to the
 * engine makes nothing that a gateway takes, and whoever can only read it
 * learns no client's keys. AES-256-GCM with a key of its own for each value,
 * derived from the secret and 16 random bytes, bound to the key's name.
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { concat, formatBase64url, parseBase64 } from "../values/bytes.ts";
import { parseMapping } from "../values/schema.ts";
import { formatJson } from "../values/text.ts";
import { hmac } from "../dialects/crypto/hash.ts";

const SALT_SIZE = 16;
const TAG_SIZE = 16;
/** The key is used once, so the nonce is always the same. */
const NONCE = new Uint8Array(12);
const TEXT = new TextEncoder();

/** Seals a value for a key, its whole name with the prefix; `random` is 16 fresh bytes. */
export function sealValue(
  secret: Uint8Array,
  name: string,
  value: object,
  random: Uint8Array,
): string {
  const salt = new Uint8Array(random);
  const cipher = createCipheriv("aes-256-gcm", keyOf(secret, salt), NONCE);
  cipher.setAAD(TEXT.encode(name));
  const text = concat(
    cipher.update(TEXT.encode(formatJson(value))),
    cipher.final(),
  );
  const sealed = concat(salt, text, cipher.getAuthTag());
  return formatJson({ v: 1, sealed: formatBase64url(sealed) });
}

/** Opens a value; null where it is no such value, or not sealed for this key under this secret. */
export function openValue(
  secret: Uint8Array,
  name: string,
  text: string,
): Readonly<Record<string, unknown>> | null {
  const { v, sealed: base64 } = parseMapping(text) ?? {};
  if (v !== 1 || typeof base64 !== "string") return null;
  const sealed = parseBase64(base64, { alphabet: "base64url" });
  if (!sealed || sealed.length < SALT_SIZE + TAG_SIZE) return null;
  const salt = sealed.subarray(0, SALT_SIZE);
  const end = sealed.length - TAG_SIZE;
  try {
    const cipher = createDecipheriv("aes-256-gcm", keyOf(secret, salt), NONCE);
    cipher.setAAD(TEXT.encode(name));
    cipher.setAuthTag(sealed.subarray(end));
    const bytes = concat(
      cipher.update(sealed.subarray(SALT_SIZE, end)),
      cipher.final(),
    );
    return parseMapping(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

function keyOf(secret: Uint8Array, salt: Uint8Array): Uint8Array {
  return hmac("sha256", secret)(salt);
}
