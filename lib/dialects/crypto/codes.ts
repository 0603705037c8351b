/** One-time codes of a second factor: RFC 6238 with SHA-1, 30 s, 6 digits. */

import { decodeBase32, encodeBase32 } from "@std/encoding/base32";
import { createHmac } from "node:crypto";

/** Milliseconds for which a code is shown. RFC 6238 §5.2. */
export const STEP_MS = 30_000;
const CODES = 1_000_000;

/** Bytes of a new secret, those of the hash. RFC 4226 §4, R6. */
export const CODE_SECRET_SIZE = 20;

/** Writes a secret as base32 without padding, as {@linkcode parseCodeSecret} reads it. */
export function formatCodeSecret(secret: Uint8Array): string {
  return encodeBase32(secret).replace(/=+$/, "");
}

/** Reads a code as an app shows it: six digits, perhaps with a space in their middle; null if it is none. */
export function parseCode(text: string): number | null {
  return /^\d{3} ?\d{3}$/.test(text) ? Number(text.replace(" ", "")) : null;
}

/**
 * The URI by which authenticator apps learn a client's secret, given in
 * base32. It names no hash, digits or period: the apps' defaults are ours.
 */
export function formatOtpauth(client: string, secret: string): string {
  const label = `knock:${encodeURIComponent(client)}`;
  return `otpauth://totp/${label}?secret=${secret}&issuer=knock`;
}

/** Reads a secret of 16 to 128 characters of base32 without padding; null if it is none. */
export function parseCodeSecret(text: string): Uint8Array | null {
  return parseBase32(text, /^[A-Z2-7]{16,128}$/);
}

/** Reads base32 of this form, without padding; null if it is none. */
export function parseBase32(text: string, form: RegExp): Uint8Array | null {
  if (!form.test(text)) return null;
  try {
    return decodeBase32(text.padEnd(Math.ceil(text.length / 8) * 8, "="));
  } catch {
    return null;
  }
}

/** The code at a time in Unix milliseconds, 0 to 999999. */
export function oneTimeCode(secret: Uint8Array, timeMs: number): number {
  return hotp(secret, Math.floor(timeMs / STEP_MS)) % CODES;
}

/** The 31 bits (RFC 4226 §5.3), with SHA-1, that a code's digits are the end of. */
export function hotp(secret: Uint8Array, counter: number): number {
  const message = new DataView(new ArrayBuffer(8));
  message.setBigUint64(0, BigInt(counter));
  const hash = createHmac("sha1", secret)
    .update(new Uint8Array(message.buffer)).digest();
  // The last four bits are the offset of the 31 bits.
  const at = hash[hash.length - 1]! & 0x0f;
  return hash.readUInt32BE(at) & 0x7fff_ffff;
}
