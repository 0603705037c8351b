/**
 * QR codes (ISO/IEC 18004, level M) for cameras: on a terminal, two modules a
 * character, and as a picture.
 * @module
 */

import { encode, renderSVG } from "uqr";

/** The light border that a reader needs, in modules. ISO/IEC 18004 §5.3.8. */
const QUIET_ZONE = 4;

const OPTIONS = { ecc: "M", border: QUIET_ZONE } as const;

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

/** Draws a text as a QR code in an SVG. */
export function formatQrSvg(text: string): string {
  return `${renderSVG(text, OPTIONS)}\n`;
}

/** Width in characters of the code that {@linkcode formatQr} draws. */
export function qrColumns(text: string): number {
  return modules(text).length;
}

/** The modules with their quiet zone, true is dark. */
function modules(text: string): readonly (readonly boolean[])[] {
  return encode(text, OPTIONS).data;
}
