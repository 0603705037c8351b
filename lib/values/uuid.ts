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
