/** base64 with padding (RFC 4648 §4), as openme writes its keys. */

/** Writes bytes as base64 with padding. */
export function formatBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/**
 * Reads base64 with padding; null if a character, the length or a spare bit is
 * wrong, or if it does not hold `size` bytes where that is given.
 */
export function parseBase64(
  text: string,
  size?: number,
): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
    return size === undefined || bytes.length === size ? bytes : null;
  } catch {
    return null;
  }
}
