/**
 * Base64 and hex of Uint8Array (ECMAScript 2026) for Node.js 22 and 24, which
 * lack them. Imported for its effect by every entry of the npm package; where
 * the runtime has them, nothing is changed.
 * @module
 */

import { Buffer } from "node:buffer";

/** Options of base64, as in ECMAScript 2026. */
interface Base64Options {
  readonly alphabet?: "base64" | "base64url";
  readonly omitPadding?: boolean;
  readonly lastChunkHandling?: "loose" | "strict" | "stop-before-partial";
}

const WHITE_SPACE = /[\t\n\f\r ]+/g;

/** `Uint8Array.fromBase64()`; throws SyntaxError for what is not base64. */
export function fromBase64(
  text: string,
  { alphabet = "base64", lastChunkHandling = "loose" }: Base64Options = {},
): Uint8Array<ArrayBuffer> {
  const bare = text.replace(WHITE_SPACE, "");
  const form = alphabet === "base64"
    ? /^([A-Za-z0-9+/]*)(={0,2})$/
    : /^([A-Za-z0-9_-]*)(={0,2})$/;
  const [, digits, padding] = form.exec(bare) ?? [];
  if (digits === undefined || padding === undefined) throw notBase64();
  const rest = digits.length % 4;
  const isPadded = padding !== "";
  if (isPadded && (rest < 2 || rest + padding.length !== 4)) throw notBase64();
  if (rest === 1) throw notBase64();
  if (rest > 0 && !isPadded && lastChunkHandling === "strict") {
    throw notBase64();
  }
  const bytes = new Uint8Array(Buffer.from(digits, alphabet));
  if (lastChunkHandling === "strict") {
    const again = Buffer.from(bytes).toString(alphabet).replace(/=+$/, "");
    if (again !== digits) throw notBase64();
  }
  return bytes;
}

function notBase64(): SyntaxError {
  return new SyntaxError("the text is not base64");
}

/** `Uint8Array.prototype.toBase64()`. */
export function toBase64(
  bytes: Uint8Array,
  { alphabet = "base64", omitPadding = false }: Base64Options = {},
): string {
  const { buffer, byteOffset, length } = bytes;
  const digits = Buffer.from(buffer, byteOffset, length).toString(alphabet)
    .replace(/=+$/, "");
  return omitPadding
    ? digits
    : digits.padEnd(Math.ceil(digits.length / 4) * 4, "=");
}

/** `Uint8Array.fromHex()`; throws SyntaxError for what is not hex. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (!/^(?:[0-9A-Fa-f]{2})*$/.test(text)) {
    throw new SyntaxError("the text is not hex");
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** `Uint8Array.prototype.toHex()`. */
export function toHex(bytes: Uint8Array): string {
  const { buffer, byteOffset, length } = bytes;
  return Buffer.from(buffer, byteOffset, length).toString("hex");
}

function define(target: object, name: string, value: unknown): void {
  if (name in target) return;
  Object.defineProperty(target, name, {
    value,
    writable: true,
    configurable: true,
  });
}

define(Uint8Array, "fromBase64", fromBase64);
define(Uint8Array, "fromHex", fromHex);
define(
  Uint8Array.prototype,
  "toBase64",
  function (this: Uint8Array, options?: Base64Options) {
    return toBase64(this, options);
  },
);
define(Uint8Array.prototype, "toHex", function (this: Uint8Array) {
  return toHex(this);
});
define(
  Uint8Array.prototype,
  "setFromHex",
  function (this: Uint8Array, text: string) {
    const bytes = fromHex(text.slice(0, this.length * 2));
    this.set(bytes);
    return { read: bytes.length * 2, written: bytes.length };
  },
);
