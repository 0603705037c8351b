import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { readItems, writeItems } from "../../lib/dialects/openspa/tlv.ts";
import vectors from "../vectors/openspa.json" with { type: "json" };

const hex = (text: string) => Uint8Array.fromHex(text);

test("writeItems() makes OpenSPA's example", () => {
  const bytes = writeItems(
    [1, new Uint8Array(256)],
    [1, Uint8Array.of(7)],
    [2, new Uint8Array()],
  );
  assertEquals(bytes.toHex(), vectors.tlv_fragment_example.hex);
});

test("readItems() reads OpenSPA's example: the first of one type counts", () => {
  assertEquals(
    readItems(hex(vectors.tlv_fragment_example.hex)),
    new Map([[1, new Uint8Array(256)], [2, new Uint8Array()]]),
  );
});

const cases: [name: string, text: string, want: [number, string][] | null][] = [
  ["nothing", "", []],
  ["separators alone", "0000", []],
  ["an empty value", "0100", [[1, ""]]],
  ["two types", "0101aa0202bbcc", [[1, "aa"], [2, "bbcc"]]],
  ["a separator between", "0101aa000101bb", [[1, "aa"]]],
  ["another type between", "0101aa02000101bb", [[1, "aa"], [2, ""]]],
  ["a type without its length", "01", null],
  ["a length past the end", "0102aa", null],
  ["a second length past the end", "0101aa0201", null],
  ["two of one type that are not kept apart", "0101aa0101bb", null],
  [
    "a value that ends with a full part",
    `01ff${"11".repeat(255)}`,
    [[1, "11".repeat(255)]],
  ],
  [
    "a full part and an empty one",
    `01ff${"11".repeat(255)}0100`,
    [[1, "11".repeat(255)]],
  ],
  ["a part past the end", `01ff${"11".repeat(255)}010211`, null],
];

for (const [name, text, want] of cases) {
  test(`readItems() reads ${name}`, () => {
    const items = readItems(hex(text));
    const got = items && [...items].map(([type, value]) => [
      type,
      value.toHex(),
    ]);
    assertEquals(got, want);
  });
}

test("readItems() gives back what was written", () => {
  const item = fc.tuple(
    fc.integer({ min: 1, max: 4 }),
    fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.uint8Array({ minLength: 250, maxLength: 520 }),
    ),
  );
  fc.assert(fc.property(fc.array(item, { maxLength: 6 }), (items) => {
    const want = new Map<number, string>();
    for (const [type, value] of items) {
      if (!want.has(type)) want.set(type, value.toHex());
    }
    const read = readItems(writeItems(...items))!;
    assertEquals(
      new Map([...read].map(([type, value]) => [type, value.toHex()])),
      want,
    );
  }));
});

test("readItems() never throws, whatever the bytes", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    readItems(bytes);
  }));
});
