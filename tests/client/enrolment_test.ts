import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  type Enrolment,
  formatEnrolment,
  isWholeEnrolment,
  looksLikeEnrolment,
  parseEnrolment,
} from "../../lib/client/profile/enrolment.ts";
import { OperatorError, UsageError } from "../../lib/values/errors.ts";

const key = (fill: number) => new Uint8Array(32).fill(fill);
const A = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const B = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";
const C = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM";
const LINE = `knock://host.example:62201/?server=${A}&key=${B}&psk=${C}#alice`;

const whole: [line: string, enrolment: Enrolment][] = [
  [LINE, {
    name: "alice",
    host: "host.example",
    port: 62201,
    server: key(1),
    key: key(2),
    psk: key(3),
  }],
  [`knock://[2001:db8::1]:1/?server=${A}&psk=${C}#a`, {
    name: "a",
    host: "2001:db8::1",
    port: 1,
    server: key(1),
    key: null,
    psk: key(3),
  }],
  [
    `knock://192.0.2.1:65535/?server=${A}&key=${B}&psk=${C}&code=JBSWY3DPEHPK3PXP#J%C3%BCrgen%20M.`,
    {
      name: "Jürgen M.",
      host: "192.0.2.1",
      port: 65535,
      server: key(1),
      key: key(2),
      psk: key(3),
      code: "JBSWY3DPEHPK3PXP",
    },
  ],
];

for (const [line, enrolment] of whole) {
  test(`formatEnrolment() and parseEnrolment() agree on ${line.slice(-24)}`, () => {
    assertEquals(formatEnrolment(enrolment), line);
    assertEquals(parseEnrolment(line), enrolment);
    assertEquals(parseEnrolment(`\n  ${line}\r\n`), enrolment);
  });
}

const LINE_WIDTH = 72;
const wrapped: readonly (readonly [name: string, text: string])[] = [
  ["in single quotes", `'${LINE}'`],
  ["in typographic quotes", `\u201c${LINE}\u201d`],
  ["in angle brackets", `<${LINE}>`],
  ["wrapped", LINE.replace(new RegExp(`.{${LINE_WIDTH}}`, "g"), "$&\n")],
  ["wrapped with CR LF", LINE.replace(/.{40}/g, "$&\r\n")],
  ["wrapped at its blanks", LINE.replaceAll("&", " &")],
  ["wrapped and quoted", `> ${LINE.replace(/.{60}/g, "$&\n> ")}`],
  ["wrapped and indented", `   ${LINE.replace(/.{60}/g, "$&\n   ")}\n`],
  ["with words behind it", `${LINE}\nthis line is secret: keep it so\n`],
  ["with a blank line behind it", `${LINE}\n\n--\nAlice\n`],
];

for (const [name, text] of wrapped) {
  test(`parseEnrolment() reads a line that is ${name}`, () => {
    assertEquals(parseEnrolment(text), parseEnrolment(LINE));
    assert(looksLikeEnrolment(text) && isWholeEnrolment(text));
  });
}

test("isWholeEnrolment() waits for the name at the end", () => {
  for (let size = 0; size < LINE.length; size++) {
    const text = LINE.slice(0, size);
    assertEquals(
      isWholeEnrolment(text),
      !looksLikeEnrolment(text) || text.includes("#a"),
    );
  }
});

const wrong: [line: string, message: string][] = [
  ["", "the enrolment is empty"],
  ["  \n", "the enrolment is empty"],
  ["https://host/", 'the enrolment must start with "knock://"'],
  ["knock:/host", 'the enrolment must start with "knock://"'],
  [
    LINE + "x".repeat(2048),
    "the enrolment has 2228 characters, wanted at most 2048",
  ],
  ["knock://", "the enrolment names no server"],
  ["knock:///?server=", "the enrolment names no server"],
  [LINE.replace(":62201", ""), 'must be HOST:PORT or [IPV6]:PORT, got "host'],
  [LINE.replace("62201", "0"), 'must be HOST:PORT or [IPV6]:PORT, got "host'],
  [LINE.replace("62201", "65536"), "must be HOST:PORT or [IPV6]:PORT"],
  [LINE.replace("host.example", "2001:db8::1"), "must be HOST:PORT or"],
  [LINE.replace("host.example", "[::g]"), "must be HOST:PORT or [IPV6]:PORT"],
  [LINE.replace("host", "me:secret@host"), 'got "…@host.example:62201"'],
  ["knock://host.example:62201", 'has no "/?" after its server'],
  ["knock://host.example:62201/", 'has no "/?" after its server'],
  [LINE.replace("/?", "?"), 'has no "/?" after its server'],
  // What is left when a shell took the rest away.
  [LINE.slice(0, LINE.indexOf("&")), "ends before the client's name"],
  [LINE.replace("#alice", ""), "ends before the client's name"],
  [LINE.replace("alice", ""), "ends before the client's name"],
  [LINE.replace(/server=\w+&/, ""), 'the enrolment has no "server"'],
  [LINE.replace(`&psk=${C}`, ""), 'the enrolment has no "psk"'],
  [LINE.replace(C, C.slice(1)), "psk must have 43 characters, got 42"],
  [LINE.replace(B, ""), "key must have 43 characters, got 0"],
  [LINE.replace("key=" + B, "key"), "key must have 43 characters, got 0"],
  [LINE.replace(A, A.slice(0, -1) + "F"), "server is not base64url"],
  [LINE.replace(A, A.slice(0, -1) + "="), "server is not base64url"],
  [LINE.replace("key=", "psk="), 'the enrolment has "psk" twice'],
  [LINE.replace("&psk", "&key=x&psk"), 'the enrolment has "key" twice'],
  [LINE.replace("#", "&v=2#"), 'has an unknown parameter "v"'],
  [LINE.replace("#", "&#"), "has an unknown parameter"],
  [LINE.replace("key=", ""), "has an unknown parameter"],
  [LINE.replace("#", "&code=jbswy3dpehpk3pxp#"), "code must be 16 to 128"],
  [LINE.replace("#", "&code=A#"), "base32, got 1 character"],
  [LINE.replace("alice", "%zz"), "not well percent-encoded"],
  [LINE.replace("alice", "%20"), "must be 1 to 64 visible characters"],
  [LINE.replace("alice", "%1b[2J"), "must be 1 to 64 visible characters"],
  [LINE.replace("alice", "a".repeat(65)), "must be 1 to 64 visible"],
];

for (const [row, [line, message]] of wrong.entries()) {
  test(`parseEnrolment() refuses line ${row}: ${message}`, () => {
    const error = assertThrows(() => parseEnrolment(line), UsageError, message);
    for (const secret of [B, C, B.slice(8, 20)]) {
      assert(!`${error.message} ${error.hint}`.includes(secret));
    }
  });
}

test("parseEnrolment() refuses every line that was cut short but in its name", () => {
  for (let length = 0; length <= LINE.indexOf("#") + 1; length++) {
    assertThrows(() => parseEnrolment(LINE.slice(0, length)), UsageError);
  }
});

const arbitrary: fc.Arbitrary<Enrolment> = fc.record({
  name: fc.string({ unit: "binary", minLength: 1, maxLength: 30 })
    .filter((name) => name.trim() !== "" && !/[\p{C}\p{Z}]/u.test(name)),
  host: fc.oneof(
    fc.domain().filter((host) => host.length < 200),
    fc.constantFrom("192.0.2.7", "2001:db8::7", "::1", "localhost"),
  ),
  port: fc.integer({ min: 1, max: 65535 }),
  server: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  key: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 })),
  psk: fc.uint8Array({ minLength: 32, maxLength: 32 }),
});

test("parseEnrolment() reads all that formatEnrolment() writes", () => {
  fc.assert(fc.property(arbitrary, (enrolment) => {
    assertEquals(parseEnrolment(formatEnrolment(enrolment)), enrolment);
  }));
});

test("parseEnrolment() throws nothing but OperatorErrors, and no secret", () => {
  const pieces = fc.constantFrom(
    ..."knock:// / ? # & = server key psk code % %41 [ ] : 62201 host @".split(
      " ",
    ),
    A,
    B,
    C,
    LINE,
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 })))
      .map((parts) => `knock://${parts.join("")}`),
  );
  fc.assert(fc.property(text, (line) => {
    try {
      parseEnrolment(line);
    } catch (error) {
      assert(error instanceof OperatorError, String(error));
    }
  }));
});
