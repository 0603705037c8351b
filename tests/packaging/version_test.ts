import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  bump,
  PLACES,
  readTexts,
  versionMistakes,
} from "../../packaging/version.ts";

const texts = readTexts(fileURLToPath(new URL("../..", import.meta.url)));

test("every file has the version that CHANGELOG.md begins with", () => {
  assertEquals(versionMistakes(texts, false), []);
});

test("bump() writes a version everywhere, and dates what is released", () => {
  const unreleased = new Map(texts).set(
    "CHANGELOG.md",
    "# Changelog\n\n## 1.0.0, unreleased\n\n- New.\n\n## 0.9.0, 2026-01-01\n",
  );
  const next = bump(unreleased, "1.2.3", "2026-02-03");
  assertEquals(versionMistakes(next, true), []);
  assertEquals(
    next.get("CHANGELOG.md"),
    "# Changelog\n\n## 1.2.3, 2026-02-03\n\n- New.\n\n## 0.9.0, 2026-01-01\n",
  );
  for (const [file, place] of PLACES) {
    assertEquals(place.exec(next.get(file)!)?.[0], "1.2.3", file);
    assertEquals(
      next.get(file)!.replace(place, ""),
      texts.get(file)!.replace(place, ""),
    );
  }
  assertThrows(() => bump(next, "1.2.4", "2026-02-04"), Error, "nothing to");
  for (const version of ["1.2", "v1.2.3", "1.2.3;", ""]) {
    assertThrows(() => bump(unreleased, version, ""), Error, "as 1.2.3");
  }
});

test("versionMistakes() names each file that disagrees, and a missing date", () => {
  const [file, place] = PLACES[0]!;
  const odd = new Map(texts)
    .set(file, texts.get(file)!.replace(place, "9.9.9"))
    .set("CHANGELOG.md", "# Changelog\n\n## 9.9.8, unreleased\n");
  const mistakes = versionMistakes(odd, true);
  assertEquals(mistakes.length, PLACES.length + 1);
  assertEquals(
    mistakes[0],
    `${file}: must have 9.9.8 as CHANGELOG.md, got 9.9.9`,
  );
  assertEquals(
    mistakes.at(-1),
    'CHANGELOG.md: 9.9.8 must have a date, got "unreleased"',
  );
  assertEquals(
    versionMistakes(new Map([["CHANGELOG.md", ""]]), false).length,
    1,
  );
});
