/** The npm package's base64 and hex for Node.js 22 do what the runtime's own do. */

import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  fromBase64,
  fromHex,
  toBase64,
  toHex,
} from "../../packaging/npm/bytes.ts";

const ALPHABETS = ["base64", "base64url"] as const;
const LAST_CHUNKS = ["loose", "strict"] as const;

/** The bytes of a text, or "refused". */
function outcome(read: () => Uint8Array): string {
  try {
    return read().toHex();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return "refused";
  }
}

const texts = fc.string({
  unit: fc.constantFrom(..."AQgwZz09+/-_= \n*"),
  maxLength: 9,
});

test("fromBase64() reads and refuses what Uint8Array.fromBase64() does", () => {
  for (const alphabet of ALPHABETS) {
    for (const lastChunkHandling of LAST_CHUNKS) {
      const options = { alphabet, lastChunkHandling };
      fc.assert(
        fc.property(texts, (text) => {
          assertEquals(
            outcome(() => fromBase64(text, options)),
            outcome(() => Uint8Array.fromBase64(text, options)),
            JSON.stringify({ text, ...options }),
          );
        }),
        { numRuns: 2000 },
      );
    }
  }
});

test("fromHex() reads and refuses what Uint8Array.fromHex() does", () => {
  const texts = fc.string({
    unit: fc.constantFrom(..."09afAFg "),
    maxLength: 6,
  });
  fc.assert(
    fc.property(texts, (text) => {
      assertEquals(
        outcome(() => fromHex(text)),
        outcome(() => Uint8Array.fromHex(text)),
        text,
      );
    }),
    { numRuns: 1000 },
  );
});

test("toBase64() and toHex() write what the runtime's own do", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 9 }), (bytes) => {
    assertEquals(toHex(bytes), bytes.toHex());
    for (const alphabet of ALPHABETS) {
      for (const omitPadding of [true, false]) {
        assertEquals(
          toBase64(bytes, { alphabet, omitPadding }),
          bytes.toBase64({ alphabet, omitPadding }),
        );
      }
    }
  }));
});
