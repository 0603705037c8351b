/** base64url without padding (RFC 4648 §5), as keys are written in text. */

/** Writes bytes as base64url without padding. */
export function formatBase64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Reads base64url without padding; null if a character, the length or a spare
 * bit is wrong, or if it does not hold `size` bytes where that is given.
 */
export function parseBase64url(
  text: string,
  size?: number,
): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, {
      alphabet: "base64url",
      lastChunkHandling: "loose",
    });
    // One text for one value: spare bits must be zero.
    if (formatBase64url(bytes) !== text) return null;
    return size === undefined || bytes.length === size ? bytes : null;
  } catch {
    return null;
  }
}

/** Whether two keys are the same. For configurations, not for proofs. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
