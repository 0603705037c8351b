/** QR codes, read back by a decoder that is not ours: zbarimg. */

import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import {
  formatQr,
  formatQrSvg,
  qrColumns,
} from "../../lib/commands/enrol/qr.ts";
import { formatOtpauth } from "../../lib/dialects/codes.ts";
import { ENROLMENT } from "../fakes/fake_server.ts";

const CODE = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

const texts: [what: string, text: string][] = [
  ["an enrolment", formatEnrolment(ENROLMENT)],
  [
    "the longest enrolment with a code",
    formatEnrolment({
      ...ENROLMENT,
      host: "a-rather-long-name-of-a-host.of-a-department.example.org",
      name: "n".repeat(64),
      code: CODE,
    }),
  ],
  [
    "an enrolment over IPv6 with a name that is escaped",
    formatEnrolment({ ...ENROLMENT, host: "2001:db8::7", name: "zoë & co" }),
  ],
  ["an otpauth URI", formatOtpauth("alice", CODE)],
];

const missing = spawnSync("zbarimg", ["--version"]).status !== 0;
const skip = missing && process.env["CI"] !== "true"
  ? "needs the program zbarimg"
  : false;

/** Rows of modules as a grey picture (PGM, netpbm's), a module of so many pixels. */
function picture(
  rows: readonly (readonly boolean[])[],
  scale: number,
): Uint8Array {
  const wide = rows.map((row) =>
    row.flatMap((dark) => Array(scale).fill(dark ? 0 : 255) as number[])
  );
  const pixels = wide.flatMap((row) => Array(scale).fill(row).flat());
  const size = `${wide[0]!.length} ${rows.length * scale}`;
  const header = new TextEncoder().encode(`P5 ${size} 255\n`);
  return Uint8Array.from([...header, ...pixels]);
}

/** Reads a code as a camera would. */
function decode(image: Uint8Array): string {
  const argv = ["--raw", "--quiet", "--oneshot", "-"];
  const { status, stdout, stderr } = spawnSync("zbarimg", argv, {
    input: Buffer.from(image),
    encoding: "utf8",
  });
  assertEquals(status, 0, stderr);
  return stdout.replace(/\n$/, "");
}

/** The picture of what a terminal shows: ink on paper, a character is 1 × 2. */
function photograph(lines: string): Uint8Array {
  // deno-lint-ignore no-control-regex -- colours are no characters
  const rows = lines.replace(/\x1b\[[\d;]*m/g, "").trimEnd().split("\n");
  const columns = Math.max(...rows.map((row) => row.length));
  const margin = Array.from({ length: 4 }, () => false);
  const pixels = rows.flatMap((row) => {
    const cells = [...row.padEnd(columns)];
    return ["▀█", "▄█"].map((ink) => [
      ...margin,
      ...cells.map((cell) => ink.includes(cell)),
      ...margin,
    ]);
  });
  return picture(pixels, 6);
}

/** The picture that a viewer draws of an SVG of squares. */
function draw(svg: string): Uint8Array {
  const side = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)![1]);
  const squares = [...svg.matchAll(/M(\d+),(\d+)h(\d+)v\3h-\3z/g)];
  const size = Number(squares[0]![3]);
  const rows = Array.from(
    { length: side / size },
    () => Array(side / size).fill(false) as boolean[],
  );
  for (const [, x, y] of squares) {
    rows[Number(y) / size]![Number(x) / size] = true;
  }
  return picture(rows, 8);
}

for (const [what, text] of texts) {
  test(`formatQrSvg() draws ${what} as a decoder reads it`, { skip }, () => {
    assertEquals(decode(draw(formatQrSvg(text))), text);
  });

  test(`formatQr() draws ${what} as a decoder reads it`, { skip }, () => {
    assertEquals(decode(photograph(formatQr(text, true))), text);
    assertEquals(decode(photograph(formatQr(text, false))), text);
  });
}

test("formatQr() colours every line, black on white, with a quiet zone of 4", () => {
  const [, text] = texts[0]!;
  const lines = formatQr(text, true).split("\n").slice(0, -1);
  const columns = qrColumns(text);
  assertEquals(lines.length, Math.ceil(columns / 2));
  for (const line of lines) {
    assert(line.startsWith("\x1b[38;5;16;48;5;231m    "));
    assert(line.endsWith("    \x1b[0m"));
    assertEquals(line.slice(19, -4).length, columns);
  }
  for (const at of [0, 1, -1]) assert(/^\S+ +\S+$/.test(lines.at(at)!));
});

test("formatQr() without colours is blocks and spaces alone", () => {
  const drawn = formatQr(texts[0]![1], false);
  assertEquals(/[^ ▀▄█\n]/.exec(drawn), null);
  assert(drawn.split("\n").every((line) => line === line.trimEnd()));
});

test("a QR code of an enrolment fits 80 columns", () => {
  for (const [, text] of [texts[0]!, texts[2]!, texts[3]!]) {
    assert(qrColumns(text) <= 80, String(qrColumns(text)));
  }
});
