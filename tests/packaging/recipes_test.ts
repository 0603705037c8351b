/** Recipes of other package managers: filled in, and read by what reads them where that is here. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parseAll } from "@std/yaml";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { TARGETS } from "../../packaging/compile.ts";
import { FILES } from "../../packaging/files.ts";
import {
  fillRecipe,
  listRecipes,
  readRecipe,
  readSums,
  type Release,
} from "../../packaging/recipes.ts";

const URL = "https://host.example/o/knock/releases/download/v1.2.3-rc.1";
const VERSION = "1.2.3-rc.1";
const DEBS = ["amd64", "arm64"].map((name) => `knock_${VERSION}_${name}.deb`);
const NAMES = [
  ...TARGETS.map(({ file }) => file),
  ...FILES.map(({ path }) => path),
  ...DEBS,
];
const sumOf = (index: number) => String(index).padStart(64, "0");
/** A release of every file that `deno task dist` makes, and no other. */
const RELEASE: Release = {
  version: VERSION,
  url: URL,
  sums: readSums(
    NAMES.map((name, index) => `${sumOf(index)}  ${name}\n`).join(""),
  ),
};

const recipes = new Map(
  listRecipes().map((path) => [path, fillRecipe(readRecipe(path), RELEASE)]),
);

test("every recipe is filled in, with files of a release", () => {
  assert(recipes.size >= 16, [...recipes.keys()].join());
  for (const [path, text] of recipes) {
    assert(!/@[A-Z0-9]+[@ ]/.test(text), path);
    for (const [, file] of text.matchAll(/download\/v[^/\s]+\/([\w.-]+)/g)) {
      if (/^(\$|%)/.test(file!)) continue;
      assert(NAMES.includes(file!), `${path}: ${file}`);
    }
  }
});

test("fillRecipe() takes the checksum of the file that is named", () => {
  const at = NAMES.indexOf("knock-darwin-arm64");
  assert(recipes.get("homebrew/knock.rb")!.includes(sumOf(at)));
  assertEquals(
    fillRecipe("@VERSION@ @PKGVER@ @HOMEPAGE@", RELEASE),
    "1.2.3-rc.1 1.2.3_rc.1 https://host.example/o/knock",
  );
});

test("fillRecipe() refuses what it cannot fill in", () => {
  assertThrows(() => fillRecipe("@SHA256 nosuch@", RELEASE), Error, "nosuch");
  assertThrows(() => fillRecipe("@NOSUCH@", RELEASE), Error, "@NOSUCH@");
});

test("recipes in JSON and YAML can be read", () => {
  const scoop = JSON.parse(recipes.get("scoop/knock.json")!);
  assertEquals(scoop.version, VERSION);
  const yaml = [...recipes].filter(([path]) => /\.ya?ml$/.test(path));
  assertEquals(yaml.length, 6);
  for (const [path, text] of yaml) {
    const [first] = parseAll(text) as unknown[];
    assert(first !== null && typeof first === "object", path);
  }
});

test("recipes for shells can be read by one", () => {
  for (const path of ["aur/PKGBUILD", "alpine/APKBUILD"]) {
    const said = spawnSync("bash", ["-n"], {
      input: recipes.get(path)!,
      encoding: "utf8",
    });
    if (said.error) continue; // there is no bash, as on Windows
    assertEquals([said.status, said.stderr], [0, ""], path);
  }
});

test("fail2ban's filter finds refusals of the log, and nothing else", () => {
  const text = recipes.get("host/fail2ban-knock.conf")!;
  const [, given] = /^failregex = (.*)$/m.exec(text)!;
  const regex = new RegExp(given!.replace("<HOST>", "(?<host>[0-9a-f.:]+)"));
  const found = (line: string) => regex.exec(line)?.groups?.["host"] ?? null;
  const time = "2026-11-27T00:48:05.123Z ";
  for (
    const [line, host] of [
      [
        "warn refused alice 203.0.113.9 tcp/22: this client has expired",
        "203.0.113.9",
      ],
      ["warn refused alice fd00::9: this client has expired", "fd00::9"],
      ["info open alice 203.0.113.9 tcp/22 until 2026-11-27T01:48:05Z", null],
      ["error failed alice 203.0.113.9 tcp/22: nft: busy", null],
    ] as const
  ) {
    assertEquals(found(line), host, line);
    assertEquals(found(time + line), host, line);
  }
});

test("the README of the recipes has a row for each", () => {
  const text = readRecipe("README.md");
  for (const path of recipes.keys()) {
    const row = path.startsWith("ansible/") ? "ansible/" : path;
    assertMatch(text, new RegExp(`^\\| \`${row}\` `, "m"));
  }
});
