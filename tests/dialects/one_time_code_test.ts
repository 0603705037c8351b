import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  formatCodeSecret,
  formatOtpauth,
  oneTimeCode,
  parseCode,
  parseCodeSecret,
} from "../../lib/dialects/crypto/codes.ts";

const SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

// RFC 6238, appendix B: the last six of the eight digits there.
const vectors: [seconds: number, code: number][] = [
  [59, 287082],
  [1111111109, 81804],
  [1111111111, 50471],
  [1234567890, 5924],
  [2000000000, 279037],
  [20000000000, 353130],
];

for (const [seconds, code] of vectors) {
  test(`oneTimeCode() is ${code} at ${seconds} s`, () => {
    const secret = parseCodeSecret(SECRET)!;
    assertEquals(secret, new TextEncoder().encode("12345678901234567890"));
    assertEquals(oneTimeCode(secret, seconds * 1000), code);
    assertEquals(oneTimeCode(secret, seconds * 1000 + 999), code);
  });
}

test("parseCodeSecret() refuses what is no base32 of 16 to 128 characters", () => {
  const wrong = [
    "",
    SECRET.slice(0, 15),
    SECRET.toLowerCase(),
    `${SECRET}=`,
    `${SECRET}1`,
    SECRET.repeat(5),
    "A".repeat(17),
  ];
  for (const text of wrong) assertEquals(parseCodeSecret(text), null, text);
});

test("parseCodeSecret() never throws", () => {
  fc.assert(fc.property(
    fc.oneof(fc.string(), fc.stringMatching(/^[A-Z2-7]{16,128}$/)),
    (text) => {
      const secret = parseCodeSecret(text);
      if (secret) assertEquals(oneTimeCode(secret, 0) < 1_000_000, true);
    },
  ));
});

test("formatCodeSecret() writes what parseCodeSecret() reads", () => {
  const bytes = fc.uint8Array({ minLength: 10, maxLength: 80 });
  fc.assert(fc.property(bytes, (secret) => {
    assertEquals(parseCodeSecret(formatCodeSecret(secret)), secret);
  }));
  assertEquals(formatCodeSecret(new Uint8Array(20)), "A".repeat(32));
});

const codes: [text: string, code: number | null][] = [
  ["123456", 123456],
  ["005924", 5924],
  ["000000", 0],
  ["123 456", 123456],
  ["12345", null],
  ["1234567", null],
  ["12 3456", null],
  [" 123456", null],
  ["123456\n", null],
  ["12345x", null],
  ["-12345", null],
  ["١٢٣٤٥٦", null],
  ["", null],
];
for (const [text, code] of codes) {
  test(`parseCode() reads ${JSON.stringify(text)} as ${code}`, () => {
    assertEquals(parseCode(text), code);
  });
}

test("formatOtpauth() leaves the apps their defaults", () => {
  assertEquals(
    formatOtpauth("my laptop", SECRET),
    `otpauth://totp/knock:my%20laptop?secret=${SECRET}&issuer=knock`,
  );
});
