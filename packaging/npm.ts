/**
 * The npm package of the library and the program: modules for Node.js 22, Deno
 * and Bun by `bun build`, and their types by tsc.
 * @module
 */

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { VERSION } from "../lib/values/program.ts";

const TYPESCRIPT = "typescript@5.9.3";
const ENTRIES = ["mod", "protocol"] as const;

/** Makes the folder of the package, with `bun`, an argv that runs Bun. */
export function makePackage(
  root: string,
  folder: string,
  bun: readonly string[],
): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run(root, [
    ...bun,
    "build",
    "--target=node",
    "--splitting",
    "--chunk-naming=chunks/[name]-[hash].js",
    `--outdir=${folder}`,
    ...[...ENTRIES, "knock"].map((name) => `packaging/npm/${name}.ts`),
  ]);
  const program = join(folder, "knock.js");
  const text = readFileSync(program, "utf8");
  writeFileSync(program, `#!/usr/bin/env node\n${text}`, { mode: 0o755 });
  writeTypes(root, join(folder, "types"));
  for (const file of ["LICENSE", "CHANGELOG.md"]) {
    copyFileSync(join(root, file), join(folder, file));
  }
  copyFileSync(join(root, "docs/library.md"), join(folder, "README.md"));
  const pack = JSON.stringify(manifest(), null, 2);
  writeFileSync(join(folder, "package.json"), `${pack}\n`);
}

/** Packs that folder into an archive in another one; returns its name. */
export function packPackage(folder: string, into: string): string {
  return run(into, [
    "npm",
    "pack",
    "--silent",
    "--ignore-scripts",
    folder,
  ]).trim().split("\n").at(-1)!;
}

function manifest() {
  const exported = (name: string) => ({
    types: `./types/${name}.d.ts`,
    default: `./${name}.js`,
  });
  return {
    name: "@knock/knock",
    version: VERSION,
    description: "Single packet authorization: the library and the program",
    license: "MIT",
    type: "module",
    engines: { node: ">=22" },
    bin: { knock: "./knock.js" },
    exports: {
      ".": exported("mod"),
      "./protocol": exported("protocol"),
      "./package.json": "./package.json",
    },
  };
}

/** Writes the types of the entries, and of the files that these name. */
function writeTypes(root: string, folder: string): void {
  const all = mkdtempSync(join(tmpdir(), "knock-types-"));
  try {
    run(root, [
      ...["npx", "-y", "-p", TYPESCRIPT, "tsc"],
      ...["--declaration", "--emitDeclarationOnly", "--noCheck"],
      ...["--target", "esnext", "--module", "esnext"],
      ...["--moduleResolution", "bundler", "--allowImportingTsExtensions"],
      ...["--strict", "--exactOptionalPropertyTypes"],
      ...["--rootDir", ".", "--outDir", all],
      ...ENTRIES.map((name) => `${name}.ts`),
    ]);
    const wanted = ENTRIES.map((name) => join(all, `${name}.d.ts`));
    for (const path of wanted) {
      const text = readFileSync(path, "utf8");
      const to = join(folder, relative(all, path));
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(
        to,
        text.replaceAll(/(["'])(\.[^"']+)\.ts\1/g, '"$2.js"')
          // No export has a KeyObject: its users need no types of Node.js.
          .replace(
            /^import .*\bKeyObject\b.* from ["']node:crypto["'];$/m,
            "type KeyObject = object;",
          ),
      );
      for (const [, target] of text.matchAll(/["'](\.[^"']+)\.ts["']/g)) {
        const next = join(dirname(path), `${target}.d.ts`);
        if (!wanted.includes(next)) wanted.push(next);
      }
    }
  } finally {
    rmSync(all, { recursive: true });
  }
}

function run(cwd: string, [program, ...args]: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program!, args, {
    cwd,
    encoding: "utf8",
  });
  if (error) throw error;
  if (status !== 0) {
    throw new Error(`${program} ${args.join(" ")}: ${stdout}${stderr}`);
  }
  return stdout;
}
