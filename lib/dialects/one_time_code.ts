/** One-time codes of a second factor: RFC 6238 with SHA-1, 30 s, 6 digits. */

import { decodeBase32 } from "@std/encoding/base32";
import { createHmac } from "node:crypto";

/** Milliseconds for which a code is shown. RFC 6238 §5.2. */
export const STEP_MS = 30_000;
const CODES = 1_000_000;

/** Reads a secret of 16 to 128 characters of base32 without padding; null if it is none. */
export function parseCodeSecret(text: string): Uint8Array | null {
  if (!/^[A-Z2-7]{16,128}$/.test(text)) return null;
  try {
    return decodeBase32(text.padEnd(Math.ceil(text.length / 8) * 8, "="));
  } catch {
    return null;
  }
}

/** The code at a time in Unix milliseconds, 0 to 999999. */
export function oneTimeCode(secret: Uint8Array, timeMs: number): number {
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(Math.floor(timeMs / STEP_MS)));
  const hash = createHmac("sha1", secret)
    .update(new Uint8Array(counter.buffer)).digest();
  // RFC 4226 §5.3: the last four bits say where the 31 bits are read.
  const at = hash[hash.length - 1]! & 0x0f;
  return (hash.readUInt32BE(at) & 0x7fff_ffff) % CODES;
}
