/** Values of a fleet: opened under their own key and secret, and by nothing else. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { openValue, sealValue } from "../../lib/fleet/seal.ts";

const SECRET = new Uint8Array(32).fill(7);
const RANDOM = new Uint8Array(16).fill(9);
const NAME = "knock/home/clients/alice";
const VALUE = { entry: { open: ["ssh"], "naïve": "…" }, files: {} };

test("a value comes back, and bears no word of it", () => {
  const sealed = sealValue(SECRET, NAME, VALUE, RANDOM);
  assertEquals(openValue(SECRET, NAME, sealed), VALUE);
  assertEquals(sealed.includes("ssh"), false);
  assertEquals(/^[\x20-\x7e]+$/.test(sealed), true);
});

test("a value of another key, secret or form is none", () => {
  const sealed = sealValue(SECRET, NAME, VALUE, RANDOM);
  const other = new Uint8Array(32).fill(8);
  assertEquals(openValue(other, NAME, sealed), null);
  assertEquals(openValue(SECRET, "knock/home/clients/bob", sealed), null);
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.slice(0, at) +
      (sealed[at] === "A" ? "B" : "A") + sealed.slice(at + 1);
    assertEquals(openValue(SECRET, NAME, changed), null, changed);
  }
  for (
    const text of [
      "",
      "{",
      "[]",
      "null",
      "7",
      `{"v":1}`,
      `{"v":1,"sealed":"AA"}`,
    ]
  ) assertEquals(openValue(SECRET, NAME, text), null, text);
  assertEquals(openValue(SECRET, NAME, JSON.stringify(VALUE)), null);
});
