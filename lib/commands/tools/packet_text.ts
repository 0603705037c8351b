/** A packet on standard input: its bytes, or a text that stands for them. */

import { parseBase64 } from "../../values/bytes.ts";

/** Spelling of bytes. */
export type Encoding = "hex" | "base64" | "raw";

/** One reading of the input. */
export interface PacketReading {
  readonly encoding: Encoding;
  readonly packet: Uint8Array;
}

/** Reads the input in one way; null if it is not written so. */
export function readAs(
  encoding: Encoding,
  input: Uint8Array,
): Uint8Array | null {
  return encoding === "raw"
    ? input
    : encoding === "hex"
    ? parseHex(textOf(input))
    : parseAnyBase64(textOf(input));
}

/**
 * Every way in which the input may be meant, the likeliest first: a packet of
 * fwknop's is itself base64, and may end in a newline that is not its own.
 */
export function readEveryWay(input: Uint8Array): readonly PacketReading[] {
  const readings: PacketReading[] = [];
  const add = (encoding: Encoding, packet: Uint8Array | null) => {
    if (packet && packet.length > 0) readings.push({ encoding, packet });
  };
  add("hex", readAs("hex", input));
  add("base64", readAs("base64", input));
  add("raw", withoutNewline(input));
  add("raw", input);
  return readings;
}

/** The text of ASCII without white space; null if it is none. */
function textOf(input: Uint8Array): string | null {
  if (!input.every(isText)) return null;
  return new TextDecoder().decode(input).replace(/\s+/g, "");
}

function isText(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f || byte >= 0x09 && byte <= 0x0d;
}

/** Hexadecimal, also as `a5:23:30` or `0xa52330`. */
function parseHex(text: string | null): Uint8Array | null {
  const digits = text?.replace(/^0x/i, "").replaceAll(":", "") ?? "";
  if (digits.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(digits)) return null;
  return Uint8Array.fromHex(digits);
}

/** base64 or base64url, with padding or without. */
function parseAnyBase64(text: string | null): Uint8Array | null {
  const bare = text?.replace(/=+$/, "").replaceAll("-", "+")
    .replaceAll("_", "/");
  return bare ? parseBase64(bare, { padding: "any" }) : null;
}

function withoutNewline(input: Uint8Array): Uint8Array | null {
  if (input.at(-1) !== 0x0a) return null;
  return input.subarray(0, input.at(-2) === 0x0d ? -2 : -1);
}
