/**
 * Version of the project, in every file that has it: `deno task bump VERSION`
 * writes it, with today's heading in CHANGELOG.md; `deno task bump --check`
 * verifies that they agree, as the release does.
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { releaseDate } from "./release.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Files with the version, and the text around it. */
export const PLACES: readonly [file: string, place: RegExp][] = [
  ["deno.json", /(?<=^ {2}"version": ")[^"]+(?=")/m],
  ["package.json", /(?<=^ {2}"version": ")[^"]+(?=")/m],
  ["lib/values/program.ts", /(?<=^export const VERSION = ")[^"]+(?=")/m],
];

/** The first heading of CHANGELOG.md: a version, and a date or "unreleased". */
const HEADING = /^## (\S+), (\S+)$/m;
const VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$/;

/** Texts by file. */
type Texts = ReadonlyMap<string, string>;

/** Names what keeps a version from being released; empty if nothing does. */
export function versionMistakes(texts: Texts, isRelease: boolean): string[] {
  const [, version, date] = HEADING.exec(texts.get("CHANGELOG.md")!) ?? [];
  if (version === undefined) {
    return ['CHANGELOG.md: must begin with "## VERSION, DATE"'];
  }
  const mistakes = PLACES.flatMap(([file, place]) => {
    const found = place.exec(texts.get(file)!)?.[0];
    if (found === version) return [];
    return [`${file}: must have ${version} as CHANGELOG.md, got ${found}`];
  });
  if (isRelease && !/^\d{4}-\d\d-\d\d$/.test(date!)) {
    mistakes.push(`CHANGELOG.md: ${version} must have a date, got "${date}"`);
  }
  return mistakes;
}

/** Writes a version into the texts; its section of CHANGELOG.md gets the date. */
export function bump(texts: Texts, version: string, date: string): Texts {
  if (!VERSION.test(version)) {
    throw new Error(`VERSION must be as 1.2.3, got "${version}"`);
  }
  const changed = new Map(texts);
  for (const [file, place] of PLACES) {
    changed.set(file, texts.get(file)!.replace(place, version));
  }
  const changes = texts.get("CHANGELOG.md")!;
  const [heading, , found] = HEADING.exec(changes) ?? [];
  if (found !== "unreleased") {
    throw new Error(
      'CHANGELOG.md: has nothing to release: begin it with "## VERSION, ' +
        'unreleased" and say what changed',
    );
  }
  changed.set(
    "CHANGELOG.md",
    changes.replace(heading!, `## ${version}, ${date}`),
  );
  return changed;
}

/** Reads every file that has the version. */
export function readTexts(root: string): Texts {
  const names = [...PLACES.map(([file]) => file), "CHANGELOG.md"];
  return new Map(
    names.map((name) => [name, readFileSync(join(root, name), "utf8")]),
  );
}

function main([given, ...rest]: readonly string[]): number {
  const texts = readTexts(ROOT);
  if (given === undefined || rest.length > 1) {
    process.stderr.write(
      "Usage: deno task bump VERSION | --check [--release]\n",
    );
    return 2;
  }
  if (given === "--check") {
    const mistakes = versionMistakes(texts, rest[0] === "--release");
    for (const mistake of mistakes) process.stderr.write(`${mistake}\n`);
    return mistakes.length === 0 ? 0 : 1;
  }
  try {
    const today = process.env["SOURCE_DATE_EPOCH"] === undefined
      ? new Date().toISOString().slice(0, 10)
      : releaseDate(ROOT);
    for (const [file, text] of bump(texts, given, today)) {
      writeFileSync(join(ROOT, file), text);
    }
    return 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
}

if (import.meta.main) process.exit(main(process.argv.slice(2)));
