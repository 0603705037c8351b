/** Doc comments say what a thing is: a noun phrase or a verb in the third person. */

import { assert, assertEquals } from "@std/assert";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Files and folders that are held to it. */
const HELD = [
  "bench",
  "lib",
  "main.ts",
  "mod.ts",
  "packaging",
  "protocol.ts",
  "tests",
  "web",
];

/** Summaries that begin with a question's word. */
const QUESTION =
  /\/\*\*\s+(?:\*\s+)?((?:What|Who|Whom|Whose|Whether|How)\b[^\n]*)/g;

function sources(path: string): string[] {
  if (!runtime.files.stat(path)!.isFolder) return [path];
  return runtime.files.list(path).flatMap((name) => {
    const inside = join(path, name);
    return runtime.files.stat(inside)!.isFolder || name.endsWith(".ts")
      ? sources(inside)
      : [];
  });
}

function questions(text: string): string[] {
  return [...text.matchAll(QUESTION)].map(([, summary]) => summary!);
}

test("no doc comment begins with What, Who, Whether or How", () => {
  const files = HELD.flatMap((path) => sources(join(ROOT, path)));
  assert(files.length > 400);
  const wrong = files.flatMap((path) =>
    questions(runtime.files.readText(path))
      .map((summary) => `${relative(ROOT, path)}: ${summary}`)
  );
  assertEquals(wrong, []);
  // And they would be found.
  assertEquals(
    questions(
      "/** ?What is it. */\n/**\n * ?Whether it is.\n */\n/** It. */"
        .replaceAll("?", ""),
    ),
    ["What is it. */", "Whether it is."],
  );
});
