import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { nearest } from "../../lib/values/text.ts";

const WORDS = ["openme", "open", "log", "clients"];

const cases: [word: string, hint: string | undefined][] = [
  ["opne", "open"],
  ["lgo", "log"],
  ["client", "clients"],
  ["opnme", "openme"],
  ["zzz", undefined],
  ["z", undefined],
  ["", undefined],
  ["x".repeat(10_000), undefined],
];

for (const [word, found] of cases) {
  test(`nearest() of "${word.slice(0, 10)}" is ${found}`, () => {
    const hint = found && `did you mean "${found}"?`;
    assertEquals(nearest(word, WORDS), hint);
  });
}

test("nearest() puts the prefix before the word", () => {
  assertEquals(nearest("fro", ["for"], "--"), `did you mean "--for"?`);
  assertEquals(nearest("for", []), undefined);
});

test("nearest() takes a word cut short for the longer one", () => {
  assertEquals(nearest("fro", ["for", "from"]), 'did you mean "from"?');
  assertEquals(nearest("lo", ["no", "log"]), 'did you mean "log"?');
  assertEquals(nearest("a", ["b"]), undefined);
});
