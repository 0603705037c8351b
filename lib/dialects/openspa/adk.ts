/**
 * The ADK proof of OpenSPA, in the clear in every request: a time-based code
 * (RFC 6238 with SHA-1, 60 s, 9 digits) over a secret that all clients of a
 * server share. It keeps strangers away from the costly part.
 * @module
 */

import { formatCodeSecret, hotp, parseBase32 } from "../crypto/codes.ts";

export const ADK_SECRET_SIZE = 4;

const STEP_MS = 60_000;
const CODES = 1_000_000_000;
/** Minutes before and after this one that count: clocks differ. */
const SLACK = 1;

/** Reads a secret of 7 characters of base32; null if it is none. */
export function parseAdkSecret(text: string): Uint8Array | null {
  return parseBase32(text, /^[A-Z2-7]{7}$/);
}

/** Writes what {@linkcode parseAdkSecret} reads. */
export const formatAdkSecret = formatCodeSecret;

/** Computes the proof, 0 to 999,999,999, at a time in Unix milliseconds. */
export function adkProof(secret: Uint8Array, timeMs: number): number {
  return proofOf(secret, Math.floor(timeMs / STEP_MS));
}

/**
 * Makes the check of proofs: true for those of the minute before, of, and
 * after `nowMs`, which are computed once a minute.
 */
export function adkCheck(
  secret: Uint8Array,
): (proof: number, nowMs: number) => boolean {
  const own = new Uint8Array(secret);
  let computed = Number.NaN;
  let proofs: readonly number[] = [];
  return (proof, nowMs) => {
    const minute = Math.floor(nowMs / STEP_MS);
    if (minute !== computed) {
      proofs = Array.from(
        { length: 2 * SLACK + 1 },
        (_, index) => proofOf(own, minute - SLACK + index),
      );
      computed = minute;
    }
    // Not in constant time: the proof is in the clear in each packet.
    return proofs.includes(proof);
  };
}

function proofOf(secret: Uint8Array, minute: number): number {
  return hotp(secret, Math.max(0, minute)) % CODES;
}
