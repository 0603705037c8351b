/** QR codes, read back by a decoder that is not ours: zbarimg. */

import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import {
  formatPng,
  formatQr,
  formatQrPng,
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

/** What a camera would read. */
function decode(png: Uint8Array): string {
  const argv = ["--raw", "--quiet", "--oneshot", "-"];
  const { status, stdout, stderr } = spawnSync("zbarimg", argv, {
    input: Buffer.from(png),
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
  return formatPng(pixels, 6);
}

for (const [what, text] of texts) {
  test(`formatQrPng() draws ${what} as a decoder reads it`, { skip }, () => {
    assertEquals(decode(formatQrPng(text)), text);
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

test("formatPng() writes the chunks of a picture of one bit a pixel", () => {
  const png = formatPng([[true, false, true], [false, true, false]], 3);
  const view = new DataView(png.buffer);
  assertEquals(png.subarray(0, 8).toHex(), "89504e470d0a1a0a");
  assertEquals([view.getUint32(16), view.getUint32(20)], [9, 6]);
  const names: string[] = [];
  let data = new Uint8Array();
  for (let at = 8; at < png.length;) {
    const size = view.getUint32(at);
    const name = new TextDecoder().decode(png.subarray(at + 4, at + 8));
    if (name === "IDAT") data = png.slice(at + 8, at + 8 + size);
    names.push(name);
    at += 12 + size;
  }
  assertEquals(names, ["IHDR", "IDAT", "IEND"]);
  const lines = new Uint8Array(inflateSync(data)).toHex().match(/.{6}/g);
  const [even, odd] = ["001c00", "00e380"];
  assertEquals(lines, [even, even, even, odd, odd, odd]);
});
