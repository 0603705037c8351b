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

/** UUIDs (RFC 9562), in text and in 16 bytes. */

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Reads a UUID with its hyphens and returns its 16 bytes; null if it is none. */
export function parseUuid(text: string): Uint8Array<ArrayBuffer> | null {
  return FORM.test(text) ? Uint8Array.fromHex(text.replaceAll("-", "")) : null;
}

/** Writes 16 bytes as a UUID, in lowercase. */
export function formatUuid(bytes: Uint8Array): string {
  return bytes.toHex()
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Makes a random UUID (RFC 9562, version 4) of 16 fresh bytes. */
export function newUuid(random: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(random);
  bytes[6] = bytes[6]! & 0x0f | 0x40;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  return bytes;
}

/** Base64 as fwknop writes it: the standard alphabet, no "=" (RFC 4648 §4). */

/** Writes bytes as base64 without padding. */
export function formatBareBase64(bytes: Uint8Array): string {
  return bytes.toBase64({ omitPadding: true });
}

/**
 * Reads base64 without padding; null if a character, the length or a spare bit
 * is wrong, so that one value has one text.
 */
export function parseBareBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9+/]*$/.test(text)) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "loose" });
    return formatBareBase64(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

/** How many characters hold so many bytes. */
export function base64Length(bytes: number): number {
  return Math.ceil(bytes * 4 / 3);
}
