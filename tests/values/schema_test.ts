import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  bool,
  list,
  mappingOr,
  type Mistake,
  named,
  object,
  oneOf,
  oneOrMore,
  optional,
  required,
  type Schema,
  section,
  text,
} from "../../lib/values/schema.ts";

const digits = text("digits", (words) => /^\d+$/.test(words) ? words : null);
const secret = text("a key", () => null as string | null, { secret: true });
const name = { wanted: "a lowercase word", pattern: /^[a-z]+$/ };
const inner = object({ a: required(digits), b: optional(bool, false) });

const whole = object({
  number: required(digits),
  word: optional(oneOf(["red", "green"]), "red"),
  several: optional(oneOrMore(digits), []),
  items: section(named(name, mappingOr(inner, digits))),
});

function read<T>(schema: Schema<T>, value: unknown) {
  const mistakes: Mistake[] = [];
  const found = schema.read(value, "", mistakes);
  return { found, told: mistakes.map(({ path, text }) => `${path}: ${text}`) };
}

test("object() reads what is there and takes fallbacks for the rest", () => {
  assertEquals(read(whole, { number: 7, items: { x: { a: "1" }, y: 2 } }), {
    found: {
      number: "7",
      word: "red",
      several: [],
      items: new Map<string, unknown>([["x", { a: "1", b: false }], [
        "y",
        "2",
      ]]),
    },
    told: [],
  });
});

test("object() reads nothing as an empty mapping", () => {
  assertEquals(read(section(inner).schema, null).told, ["a: is missing"]);
  assertEquals(read(object({ a: optional(bool, true) }), null).found, {
    a: true,
  });
});

const mistakes: [name: string, value: unknown, told: string[]][] = [
  ["text", "x", [`: must be a mapping, got "x"`]],
  ["a list", [1], [": must be a mapping, got a list"]],
  ["a date", new Date(0), [`: must be a mapping, got "0"`]],
  ["a missing key", {}, ["number: is missing"]],
  ["an unknown key", { number: 1, nmuber: 2 }, ["nmuber: unknown key"]],
  ["a wrong value", { number: "x" }, [`number: must be digits, got "x"`]],
  ["nothing", { number: null }, ["number: must be digits, got nothing"]],
  ["a mapping", { number: {} }, ["number: must be digits, got a mapping"]],
  ["an empty list", { number: 1, several: [] }, [
    "several: must be a list with at least one entry, got an empty list",
  ]],
  ["every wrong entry", { number: 1, several: [1, "x", true] }, [
    `several[1]: must be digits, got "x"`,
    `several[2]: must be digits, got "true"`,
  ]],
  ["another word", { number: 1, word: "gren" }, [
    `word: must be red or green, got "gren"`,
  ]],
  ["a wrong name", { number: 1, items: { X: 1 } }, [
    `items: the name must be a lowercase word, got "X"`,
  ]],
  ["all of them, deep too", { items: { x: { a: "?", c: 1 }, y: "?" } }, [
    "number: is missing",
    "items.x.c: unknown key",
    `items.x.a: must be digits, got "?"`,
    `items.y: must be digits, got "?"`,
  ]],
];

for (const [what, value, told] of mistakes) {
  test(`object() tells of ${what}`, () => {
    assertEquals(read(whole, value).told.sort(), [...told].sort());
  });
}

test("object() hints at the nearest key", () => {
  const mistakes: Mistake[] = [];
  whole.read({ number: 1, nmuber: 1, zzzzzz: 1 }, "", mistakes);
  assertEquals(mistakes.map(({ hint }) => hint), [
    `did you mean "number"?`,
    undefined,
  ]);
});

test("object() is no way into a prototype", () => {
  const value = JSON.parse(`{"number": 1, "__proto__": {"word": "green"}}`);
  assertEquals(read(whole, value).told, ["__proto__: unknown key"]);
  const constructor = JSON.parse(`{"number": 1, "constructor": 1}`);
  assertEquals(read(whole, constructor).told, ["constructor: unknown key"]);
});

test("text() shows a secret's length and never the secret", () => {
  assertEquals(read(secret, "hunter2").told, [
    ": must be a key, got 7 characters",
  ]);
  const keys = object({ key: optional(secret, null) }, { secret: true });
  const pasted = "abcdefghijklmnopqrstuvwxyz";
  for (const value of [pasted, { [pasted]: null }, { key: pasted }]) {
    const { told } = read(keys, value);
    assertEquals(told.length, 1);
    assertEquals(told.join().includes("abcdef"), false, told.join());
  }
});

test("every schema is its JSON Schema too", () => {
  assertEquals(inner.json, {
    type: "object",
    properties: {
      a: { type: ["string", "number"], description: "digits" },
      b: { type: "boolean" },
    },
    required: ["a"],
    additionalProperties: false,
  });
  assertEquals(list(bool).json, {
    type: "array",
    items: { type: "boolean" },
    minItems: 1,
  });
});

test("read() never throws, and tells a mistake of what it cannot use", () => {
  fc.assert(fc.property(fc.anything({ withDate: true }), (value) => {
    const { found, told } = read(whole, value);
    assertEquals(found === undefined && told.length === 0, false);
  }));
});
