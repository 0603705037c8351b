/** The mark of an engine's data: other data is told once, answers out of order are not. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { EngineMark } from "../../lib/fleet/fleet.ts";
import { EngineMarks } from "../../lib/fleet/mark.ts";

const at = (revision: number, id = "a"): EngineMark => ({ id, revision });

const CASES: readonly (readonly [
  name: string,
  known: EngineMark | null,
  notes: readonly (readonly [EngineMark, before: EngineMark | null])[],
  replaced: number,
  mark: EngineMark,
])[] = [
  ["the first answer is no other data", null, [[at(5), null]], 0, at(5)],
  ["it grows", at(5), [[at(6), at(5)]], 0, at(6)],
  ["it stays", at(5), [[at(5), at(5)]], 0, at(5)],
  ["it goes back", at(5), [[at(4), at(5)]], 1, at(4)],
  ["another id", at(5), [[at(9, "b"), at(5)]], 1, at(9, "b")],
  [
    "answers out of order: what was asked before a newer one came",
    at(5),
    [[at(7), at(5)], [at(6), at(5)]],
    0,
    at(7),
  ],
  [
    "other data is told once to all that were under way",
    at(5),
    [[at(1, "b"), at(5)], [at(2, "b"), at(5)]],
    1,
    at(2, "b"),
  ],
  [
    "and again when it is other again",
    at(5),
    [[at(3), at(5)], [at(1), at(3)]],
    2,
    at(1),
  ],
];

for (const [name, known, notes, expected, mark] of CASES) {
  test(`mark: ${name}`, () => {
    let replaced = 0;
    const marks = new EngineMarks(known, () => void replaced++);
    for (const [noted, before] of notes) marks.note(noted, before);
    assertEquals(replaced, expected);
    assertEquals(marks.mark, mark);
  });
}
