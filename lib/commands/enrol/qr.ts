/**
 * QR codes (ISO/IEC 18004, level M) for cameras: on a terminal, two modules a
 * character, and as a picture.
 * @module
 */

import { crc32, deflateSync } from "node:zlib";
import { encode } from "uqr";

/** The light border that a reader needs, in modules. ISO/IEC 18004 §5.3.8. */
const QUIET_ZONE = 4;

/** Pixels of a module in a picture. */
const SCALE = 8;

/** Upper and lower module of a character: neither dark, the lower, the upper, both. */
const HALVES = [" ", "▄", "▀", "█"] as const;

/**
 * Black on white from the fixed part of the 256 colours, which no theme
 * changes: a terminal's own colours may be light on dark.
 */
const BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m";
const AS_BEFORE = "\x1b[0m";

/**
 * Draws a text as a QR code, a line of characters for every two rows of
 * modules. With `colours` it looks the same on dark and on light terminals;
 * without, blocks are dark and spaces are light, as on paper.
 */
export function formatQr(text: string, colours: boolean): string {
  const rows = modules(text);
  let lines = "";
  for (let y = 0; y < rows.length; y += 2) {
    const line = rows[y]!.map((upper, x) => {
      const lower = rows[y + 1]?.[x] ?? false;
      return HALVES[(upper ? 2 : 0) + (lower ? 1 : 0)];
    }).join("");
    lines += colours
      ? `${BLACK_ON_WHITE}${line}${AS_BEFORE}\n`
      : `${line.trimEnd()}\n`;
  }
  return lines;
}

/** Draws a text as a QR code in a PNG. */
export function formatQrPng(text: string): Uint8Array<ArrayBuffer> {
  return formatPng(modules(text), SCALE);
}

/** How many characters wide {@linkcode formatQr} draws a text. */
export function qrColumns(text: string): number {
  return modules(text).length;
}

/** The modules with their quiet zone, true is dark. */
function modules(text: string): readonly (readonly boolean[])[] {
  return encode(text, { ecc: "M", border: QUIET_ZONE }).data;
}

// Black and white pictures as PNG: one grey channel of one bit a pixel, no
// filter, no interlace.

/** The first bytes of every PNG. PNG specification §5.2. */
const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** What stands around a chunk's data: its length, its name, its CRC. §5.3. */
const LENGTH_SIZE = 4;
const NAME_SIZE = 4;
const CRC_SIZE = 4;

const HEADER_SIZE = 13;
const BIT_DEPTH = 1;

/**
 * Draws rows of equal length as a PNG, each cell a square of `scale` pixels;
 * true is black.
 */
export function formatPng(
  rows: readonly (readonly boolean[])[],
  scale: number,
): Uint8Array<ArrayBuffer> {
  const width = (rows[0]?.length ?? 0) * scale;
  const header = new DataView(new ArrayBuffer(HEADER_SIZE));
  header.setUint32(0, width);
  header.setUint32(4, rows.length * scale);
  header.setUint8(8, BIT_DEPTH);
  const lines = rows.flatMap((row) => {
    const line = formatLine(row, scale);
    return Array.from({ length: scale }, () => line);
  });
  return concat([
    SIGNATURE,
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", deflateSync(concat(lines))),
    chunk("IEND", new Uint8Array()),
  ]);
}

/** A line of pixels behind the byte of its filter, which is none. */
function formatLine(row: readonly boolean[], scale: number): Uint8Array {
  const line = new Uint8Array(1 + Math.ceil(row.length * scale / 8));
  for (let x = 0; x < row.length * scale; x++) {
    const black = row[Math.floor(x / scale)];
    if (!black) line[1 + (x >> 3)]! |= 0x80 >> (x & 7);
  }
  return line;
}

function chunk(name: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(
    LENGTH_SIZE + NAME_SIZE + data.length + CRC_SIZE,
  );
  const view = new DataView(bytes.buffer);
  const end = bytes.length - CRC_SIZE;
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(name), LENGTH_SIZE);
  bytes.set(data, LENGTH_SIZE + NAME_SIZE);
  view.setUint32(end, crc32(bytes.subarray(LENGTH_SIZE, end)));
  return bytes;
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
