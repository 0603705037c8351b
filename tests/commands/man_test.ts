/** The manual pages: what is in them, and what mandoc says where it is. */

import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { COMMANDS } from "../../lib/commands/table.ts";
import { formatManual } from "../../packaging/man.ts";
import {
  escapeLiteral,
  formatParagraph,
  formatTags,
} from "../../packaging/man/mdoc.ts";
import { runtime } from "../fakes/runtime.ts";

const manual = await formatManual("2026-01-02");

const paragraphs: [markdown: string, mdoc: string][] = [
  ["plain words", "plain words"],
  ["a `--code` and **strong**", "a \\fB\\-\\-code\\fR and \\fBstrong\\fR"],
  ["one. Two.\nThree", "one.\nTwo.\nThree"],
  ["[a page](there.md#x)", "a page"],
  [".hidden \\ 'x'", "\\&.hidden \\e 'x'"],
  ["well-known -v", "well-known \\-v"],
];

for (const [markdown, mdoc] of paragraphs) {
  test(`formatParagraph() writes ${JSON.stringify(markdown)}`, () => {
    assertEquals(formatParagraph(markdown), mdoc);
  });
}

test("escapeLiteral() keeps what a shell would read", () => {
  assertEquals(
    escapeLiteral("a -b\n.c `d` ~e"),
    "a \\-b\n\\&.c \\(gad\\(ga \\(tie",
  );
});

test("formatTags() quotes its tags", () => {
  assertMatch(
    formatTags([['-a "b"', "words"]]),
    /^\.It Sy "\\-a \\\(dqb\\\(dq"$/m,
  );
});

test("knock.1 has a section for every command", () => {
  const page = manual.get("knock.1")!;
  for (const name of Object.keys(COMMANDS)) {
    if (name !== "help") {
      assertMatch(page, new RegExp(`^\\.Ss "knock ${name}"$`, "m"));
    }
  }
});

for (const [name, page] of manual) {
  test(`mandoc finds nothing wrong in ${name}`, async (t) => {
    try {
      await runtime.run(["mandoc", "-V"]);
    } catch {
      return t.skip("needs mandoc");
    }
    const { stdout } = await runtime.run(["mandoc", "-Tlint", "-Wwarning"], {
      stdin: page,
    });
    assertEquals(stdout, "");
  });
}
