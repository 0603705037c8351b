/** Base64 as fwknop writes it: the standard alphabet, no "=" (RFC 4648 §4). */

/** Writes bytes as base64 without padding. */
export function formatBase64(bytes: Uint8Array): string {
  return bytes.toBase64({ omitPadding: true });
}

/**
 * Reads base64 without padding; null if a character, the length or a spare bit
 * is wrong, so that one value has one text.
 */
export function parseBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9+/]*$/.test(text)) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "loose" });
    return formatBase64(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

/** How many characters hold so many bytes. */
export function base64Length(bytes: number): number {
  return Math.ceil(bytes * 4 / 3);
}
