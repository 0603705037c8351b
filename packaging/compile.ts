/** One binary per system: by `deno compile` where its base runtime can be had, else by Bun. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";

/** A system that a binary is made for. */
export interface Target {
  /** The file in dist/. */
  readonly file: string;
  /** Name that Bun has for it. */
  readonly bun: string;
  /** Name that Deno has for it; null where Deno has no base for it. */
  readonly deno: string | null;
}

/** Every binary of a release. The x64 ones run on processors without AVX2, too. */
export const TARGETS: readonly Target[] = [
  {
    file: "knock-linux-x64",
    bun: "bun-linux-x64-baseline",
    deno: "x86_64-unknown-linux-gnu",
  },
  {
    file: "knock-linux-arm64",
    bun: "bun-linux-arm64",
    deno: "aarch64-unknown-linux-gnu",
  },
  {
    file: "knock-linux-x64-musl",
    bun: "bun-linux-x64-musl-baseline",
    deno: null,
  },
  { file: "knock-linux-arm64-musl", bun: "bun-linux-arm64-musl", deno: null },
  {
    file: "knock-darwin-x64",
    bun: "bun-darwin-x64-baseline",
    deno: "x86_64-apple-darwin",
  },
  {
    file: "knock-darwin-arm64",
    bun: "bun-darwin-arm64",
    deno: "aarch64-apple-darwin",
  },
  {
    file: "knock-windows-x64.exe",
    bun: "bun-windows-x64-baseline",
    deno: "x86_64-pc-windows-msvc",
  },
];

const BUN_VERSION = "1.4.5";

/**
 * Chunks of bytecode that are loaded when they are used: a knock takes a third
 * of the time. Nothing of the folder that it is started in is read: a file
 * `.env` there could name another configuration.
 */
const BUN_OPTIONS = [
  "--compile",
  "--minify",
  "--bytecode",
  "--format=esm",
  "--splitting",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** Compilers of binaries. */
export type Maker = "deno" | "bun";

/** Makes binaries, and remembers whether Deno's base can be had. */
export class Compiler {
  readonly #root: string;
  readonly #folder: string;
  readonly #only: Maker | null;
  /** An argv that runs Bun. */
  readonly bun = findBun();
  #denoFails: string | null = null;

  /** `only` takes one maker for all, for tests and for machines that differ. */
  constructor(root: string, folder: string, only: Maker | null) {
    this.#root = root;
    this.#folder = folder;
    this.#only = only;
  }

  /** Why Deno made none, where it was tried. */
  get denoFails(): string | null {
    return this.#denoFails;
  }

  /** Makes a binary; says who made it. Throws where nobody can. */
  compile(target: Target): Maker {
    if (this.#only !== "bun" && target.deno !== null && !this.#denoFails) {
      const said = this.#run("deno", [
        "compile",
        "--quiet",
        "--no-check",
        "-A",
        "--unstable-net",
        ...["--target", target.deno],
        ...["--output", join(this.#folder, target.file), "main.ts"],
      ]);
      if (said === null) return "deno";
      // The base of one system is not to be had: neither are the others'.
      this.#denoFails = said;
    }
    if (this.#only === "deno") {
      throw new Error(`deno compile: ${this.#denoFails ?? "no such target"}`);
    }
    const [program, ...first] = this.bun;
    const said = this.#run(program!, [
      ...first,
      "build",
      ...BUN_OPTIONS,
      `--target=${target.bun}`,
      `--outfile=${join(this.#folder, target.file)}`,
      "main.ts",
    ]);
    if (said === null) return "bun";
    throw new Error(`bun build --compile: ${said}`);
  }

  /** Makes the single file that Deno, Bun and Node.js 22 run, with nothing beside it. */
  bundle(file: string): void {
    const [program, ...first] = this.bun;
    const said = this.#run(program!, [
      ...first,
      "build",
      "--target=node",
      "--banner=#!/usr/bin/env -S deno run -A",
      `--outfile=${join(this.#folder, file)}`,
      "packaging/npm/knock.ts",
    ]);
    if (said !== null) throw new Error(`bun build: ${said}`);
  }

  /** Null when it went well, else its last words. */
  #run(program: string, args: readonly string[]): string | null {
    const { status, stderr, error } = spawnSync(program, args, {
      cwd: this.#root,
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1" },
    });
    if (status === 0) return null;
    if (error) return error.message;
    const lines = stderr.split("\n").map((line) => line.trim());
    const [, cause] = /^\d+: (.*)$/.exec(
      lines.findLast((line) => /^\d+: (?!<)/.test(line)) ?? "",
    ) ?? [];
    return cause ?? lines.find((line) => /error/i.test(line)) ??
      `exit status ${status}`;
  }
}

/** An argv that runs the Bun of releases. */
export function findBun(): readonly string[] {
  const { stdout } = spawnSync("bun", ["--version"], { encoding: "utf8" });
  return stdout?.trim() === BUN_VERSION
    ? ["bun"]
    : ["npx", "-y", `bun@${BUN_VERSION}`];
}
