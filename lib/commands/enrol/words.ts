/** Words of `knock client add` beside the enrolment, and its QR codes. */

import { encode, renderSVG } from "uqr";
import { formatOtpauth } from "../../dialects/crypto/codes.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { printHint } from "../command.ts";

/** Shows how an authenticator app learns the secret. */
export function showCode(
  runtime: Runtime,
  name: string,
  code: string,
  qr: boolean,
): void {
  const uri = formatOtpauth(name, code);
  const what = `the one-time codes of ${name}, for an authenticator app`;
  if (qr) showQr(runtime, what, uri);
  runtime.err(`${what}:\n    ${uri}\n`);
}

/** Says that the line is a secret, and what to type at the client's side. */
export function tellNext(
  runtime: Runtime,
  name: string,
  hasKey: boolean,
): void {
  const command = hasKey ? "knock import" : "knock import --key FILE";
  runtime.err(`this line is secret: give it to nobody but ${name}
next, at the client:
    ${command.padEnd(26)}paste the line; it is not shown
    ${`knock ${name}`.padEnd(26)}open
`);
}

/** As {@linkcode tellNext}, of a link for a browser. */
export function tellPage(runtime: Runtime, name: string): void {
  runtime.err(`this link is secret: give it to nobody but ${name}
next, at the client: open it in the browser, which stores the profile; then
keep the page, and not the link, as a bookmark or on the home screen
`);
}

/** Prints a QR code under what it is, on standard error. */
export function showQr(runtime: Runtime, what: string, text: string): void {
  const terminal = runtime.isTerminal("err");
  runtime.err(`${what}:\n`);
  runtime.paint("err", formatQr(text, terminal));
  const wanted = encode(text, OPTIONS).data.length;
  const columns = runtime.columns();
  if (!terminal || wanted <= columns) return;
  printHint(
    runtime,
    `this QR code is ${wanted} columns wide and the terminal ${columns}: make ` +
      "it wider, or draw a picture with --svg FILE",
  );
}

// QR codes (ISO/IEC 18004, level M) for cameras: on a terminal, two modules a
// character, and as a picture.

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
  // With the quiet zone; true is dark.
  const rows = encode(text, OPTIONS).data;
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
