/** QR codes, read back by a decoder that is not ours: zbarimg. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { formatQr, formatQrSvg } from "../../lib/commands/enrol/words.ts";
import { formatOtpauth } from "../../lib/dialects/crypto/codes.ts";
import { cameraSkip, decode, draw, photograph } from "../fakes/camera.ts";
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

for (const [what, text] of texts) {
  test(`formatQrSvg() draws ${what} as a decoder reads it`, {
    skip: cameraSkip,
  }, () => {
    assertEquals(decode(draw(formatQrSvg(text))), text);
  });

  test(
    `formatQr() draws ${what} as a decoder reads it`,
    { skip: cameraSkip },
    () => {
      assertEquals(decode(photograph(formatQr(text, true))), text);
      assertEquals(decode(photograph(formatQr(text, false))), text);
    },
  );
}

test("formatQr() colours every line, black on white, with a quiet zone of 4", () => {
  const [, text] = texts[0]!;
  const lines = formatQr(text, true).split("\n").slice(0, -1);
  const columns = qrColumns(lines);
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
    const columns = qrColumns(formatQr(text, true).split("\n"));
    assert(columns <= 80, String(columns));
  }
});

/** Columns of a code in colours: they stand before and behind each line. */
function qrColumns([line]: readonly string[]): number {
  return line!.slice(19, -4).length;
}
