/**
 * Recipes of package managers, container images and tools, with the version
 * and the checksums of a release: `deno task recipes --url URL` reads
 * dist/SHA256SUMS and fills dist/recipes/. URL is the folder that the release's
 * files are downloaded from.
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { VERSION } from "../lib/values/program.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const RECIPES = join(ROOT, "packaging/recipes");

/** Values of the placeholders in a recipe. */
export interface Release {
  readonly version: string;
  /** Folder of the files, without a slash at its end. */
  readonly url: string;
  /** SHA-256 of each file, 64 hexadecimal digits. */
  readonly sums: ReadonlyMap<string, string>;
}

/**
 * Fills in a recipe: `@VERSION@`, `@PKGVER@` (for managers that take no
 * hyphen), `@URL@`, `@HOMEPAGE@` and `@SHA256 FILE@`. Throws for a file that
 * the release has not, and for any other placeholder.
 */
export function fillRecipe(
  text: string,
  { version, url, sums }: Release,
): string {
  const values: Readonly<Record<string, string>> = {
    VERSION: version,
    PKGVER: version.replaceAll("-", "_"),
    URL: url,
    HOMEPAGE: new URL("../..", `${url}/`).href.replace(/\/releases\/$/, ""),
  };
  return text
    .replaceAll("@VERSION@", version)
    .replaceAll(/@SHA256 ([^@\s]+)@/g, (_, file) => {
      const sum = sums.get(file);
      if (!sum) throw new Error(`the release has no file "${file}"`);
      return sum;
    })
    .replaceAll(/@([A-Z]+)@/g, (_, name) => {
      const value = values[name];
      if (value === undefined) throw new Error(`no placeholder: @${name}@`);
      return value;
    });
}

/** Reads the lines of SHA256SUMS. */
export function readSums(text: string): Map<string, string> {
  return new Map(
    text.trim().split("\n").map((line) => {
      const [sum, file] = line.split(/ [ *]/);
      return [file!, sum!];
    }),
  );
}

/** Paths of the recipes, below packaging/recipes/. */
export function listRecipes(folder = RECIPES): string[] {
  return readdirSync(folder).sort().flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return listRecipes(path);
    return name === "README.md" ? [] : [relative(RECIPES, path)];
  });
}

/** Reads a recipe as it is kept. */
export function readRecipe(path: string): string {
  return readFileSync(join(RECIPES, path), "utf8");
}

function main(): number {
  const { url, dist } = parseArgs(process.argv.slice(2), {
    string: ["url", "dist"],
    default: { dist: join(ROOT, "dist") },
  });
  if (url === undefined) {
    process.stderr.write(
      "Usage: deno task recipes --url URL [--dist FOLDER]\n",
    );
    return 2;
  }
  const sums = readSums(readFileSync(join(dist, "SHA256SUMS"), "utf8"));
  const release = { version: VERSION, url: url.replace(/\/$/, ""), sums };
  for (const path of listRecipes()) {
    const target = join(dist, "recipes", path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, fillRecipe(readRecipe(path), release));
  }
  return 0;
}

if (import.meta.main) process.exit(main());
