/**
 * Fills dist/ with everything of a release: `deno task dist`. With `--only
 * linux-x64,js,npm,deb,files` only these; with `--maker bun` or `deno` by that
 * one.
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { createHash } from "node:crypto";
import {
  chmodSync,
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
import { Compiler, type Maker, TARGETS } from "./compile.ts";
import { formatDeb, type Machine } from "./deb.ts";
import { FILES } from "./files.ts";
import { makePackage, packPackage } from "./npm.ts";
import { releaseSeconds } from "./release.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SCRIPT = "knock.js";
const SUMS = "SHA256SUMS";

/** The binary in each package. */
const DEBS: readonly [Machine, string][] = [
  ["amd64", "knock-linux-x64"],
  ["arm64", "knock-linux-arm64"],
];

async function main(): Promise<void> {
  const { only, maker, out } = parseArgs(process.argv.slice(2), {
    string: ["only", "maker", "out"],
  });
  const folder = out ?? join(ROOT, "dist");
  const wanted = only?.split(",");
  const wants = (name: string) => wanted?.includes(name) ?? true;
  mkdirSync(folder, { recursive: true });
  const say = (words: string) => void process.stdout.write(`${words}\n`);
  const told = (name: string, by: string) => {
    const megabytes = statSync(join(folder, name)).size / 1e6;
    say(`${name.padEnd(26)} ${megabytes.toFixed(1).padStart(6)} MB  ${by}`);
  };

  const compiler = new Compiler(ROOT, folder, (maker ?? null) as Maker | null);
  for (const target of TARGETS) {
    if (!wants(target.file.replace(/^knock-|\.exe$/g, ""))) continue;
    const by = compiler.compile(target);
    chmodSync(join(folder, target.file), 0o755);
    told(target.file, by === "deno" ? "deno compile" : "bun build --compile");
  }
  if (wants("js")) {
    compiler.bundle(SCRIPT);
    chmodSync(join(folder, SCRIPT), 0o755);
    told(SCRIPT, "bun build");
  }
  if (wants("npm")) {
    makePackage(ROOT, join(folder, "npm"), compiler.bun);
    told(packPackage(join(folder, "npm"), folder), "bun build, tsc, npm pack");
  }
  const seconds = releaseSeconds(ROOT);
  for (const [machine, binary] of DEBS) {
    if (!wants("deb") || !wants(binary.replace("knock-", ""))) continue;
    const name = `knock_${VERSION}_${machine}.deb`;
    const deb = await formatDeb(ROOT, {
      machine,
      binary: new Uint8Array(readFileSync(join(folder, binary))),
      seconds,
    });
    writeFileSync(join(folder, name), deb);
    told(name, "packaging/deb.ts");
  }
  for (const { path, make, isProgram } of wants("files") ? FILES : []) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await make(ROOT));
    chmodSync(file, isProgram ? 0o755 : 0o644);
    told(path, "packaging/files.ts");
  }
  writeFileSync(join(folder, SUMS), sumsOf(folder));
  if (compiler.denoFails !== null) {
    say(`deno compile was tried first: ${compiler.denoFails}`);
  }
}

/** Folder of the package before it is packed: no file of a release. */
const UNPACKED = "npm";

/** A line for each file, as sha256sum(1) writes and checks them. */
function sumsOf(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)))
    .filter((path) => path !== SUMS && path.split("/")[0] !== UNPACKED)
    .sort()
    .map((path) => {
      const bytes = readFileSync(join(folder, path));
      return `${createHash("sha256").update(bytes).digest("hex")}  ${path}\n`;
    }).join("");
}

await main();
