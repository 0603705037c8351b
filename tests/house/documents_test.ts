/** Documents name files that exist. */

import { assert, assertEquals } from "@std/assert";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Folders without documents of this project. */
const ELSEWHERE = new Set([".git", "dist", "node_modules", "results"]);

/** A path of the repository, as documents write it. */
const PATH =
  /(?<![\w./-])((?:bench|docs|lib|packaging|tests)\/[\w./-]*[\w/])(?![\w*<{-])/g;

function documents(folder: string): string[] {
  return runtime.files.list(folder).flatMap((name) => {
    if (ELSEWHERE.has(name)) return [];
    const path = join(folder, name);
    if (runtime.files.stat(path)?.isFolder) return documents(path);
    return name.endsWith(".md") ? [path] : [];
  });
}

/** Paths in a text that are not in the repository. */
function missing(text: string): string[] {
  return [...text.matchAll(PATH)].map(([, path]) => path!)
    .filter((path) => runtime.files.stat(join(ROOT, path)) === null);
}

/** Pictures that a document shows and that are not beside it. */
function missingPictures(path: string, text: string): string[] {
  return [...text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(([, name]) => name!)
    .filter((name) => runtime.files.stat(join(dirname(path), name)) === null);
}

test("each picture that a document shows exists", () => {
  const found = documents(ROOT).flatMap((path) =>
    missingPictures(path, runtime.files.readText(path))
  );
  assertEquals(found, []);
  assertEquals(missingPictures(ROOT, "![x](nowhere.png)"), ["nowhere.png"]);
});

test("each path that a document names exists", () => {
  const found = documents(ROOT);
  assert(found.length > 10);
  const wrong = found.flatMap((path) =>
    missing(runtime.files.readText(path))
      .map((name) => `${relative(ROOT, path)}: ${name}`)
  );
  assertEquals(wrong, []);
  // And one would be found.
  assertEquals(missing("see `lib/nowhere/x.ts` and tests/house/."), [
    "lib/nowhere/x.ts",
  ]);
});
