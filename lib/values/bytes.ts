/** Bytes in text: base64 in its forms (RFC 4648), and UUIDs (RFC 9562). */

interface Base64Form {
  /** The alphabet of RFC 4648 §4, or that of §5. Default: "base64". */
  readonly alphabet?: "base64" | "base64url";
  /**
   * Padding with "=" of the last group. With "any" it may, and spare bits may
   * be set, as fwknop reads keys; else each value has one text. Default:
   * "needed" for base64, "none" for base64url.
   */
  readonly padding?: "needed" | "none" | "any";
  /** Required number of bytes. */
  readonly size?: number;
}

const FORMS = {
  base64: /^[A-Za-z0-9+/]*={0,2}$/,
  base64url: /^[A-Za-z0-9_-]*={0,2}$/,
};

/** Reads base64; null if the text is not of this form. */
export function parseBase64(
  text: string,
  {
    alphabet = "base64",
    padding = alphabet === "base64" ? "needed" : "none",
    size,
  }: Base64Form = {},
): Uint8Array<ArrayBuffer> | null {
  if (!FORMS[alphabet].test(text)) return null;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.fromBase64(text, { alphabet });
  } catch {
    return null;
  }
  if (padding !== "any") {
    const omitPadding = padding === "none";
    if (bytes.toBase64({ alphabet, omitPadding }) !== text) return null;
  }
  return size === undefined || bytes.length === size ? bytes : null;
}

/** Writes bytes as base64url without padding (RFC 4648 §5), as keys are written in text. */
export function formatBase64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Writes bytes as base64 without padding, as fwknop does. */
export function formatBareBase64(bytes: Uint8Array): string {
  return bytes.toBase64({ omitPadding: true });
}

/** The number of characters of base64 without padding that hold so many bytes. */
export function base64Length(bytes: number): number {
  return Math.ceil(bytes * 4 / 3);
}

/** True if two keys are equal. Not constant-time: for configurations, not for proofs. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Reads a UUID with its hyphens and returns its 16 bytes; null if it is none. */
export function parseUuid(text: string): Uint8Array<ArrayBuffer> | null {
  return UUID.test(text) ? Uint8Array.fromHex(text.replaceAll("-", "")) : null;
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

/** Copies the parts into one, one after the other. */
export function concat(
  ...parts: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
