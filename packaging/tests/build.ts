/** Builds for the tests of the distribution. */

import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The folder of the sources. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** This machine's binary, as dist/ calls it. */
export const MACHINE = arch() === "arm64" ? "linux-arm64" : "linux-x64";

/** Null, or why the tests of a binary cannot run here. */
export function whyNot(programs: readonly string[]): string | null {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  const missing = programs.find((program) =>
    spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0
  );
  return missing === undefined ? null : `needs ${missing}`;
}

/** Builds parts of a release into a fresh folder, from the sources in `root`; and what it printed. */
export function build(
  only: string,
  env: Record<string, string> = {},
  root = ROOT,
): { folder: string; said: string } {
  const folder = mkdtempSync(join(tmpdir(), "knock-dist-"));
  const said = run("deno", [
    "run",
    "-A",
    "--no-check",
    join(root, "packaging/dist.ts"),
    ...["--only", only, "--out", folder],
  ], { env }).stdout;
  return { folder, said };
}

/** Runs a program to its end; fails where its status is another than wanted. */
export function run(
  program: string,
  args: readonly string[],
  options: {
    env?: Record<string, string>;
    cwd?: string;
    status?: number;
    input?: string;
  } = {},
): { stdout: string; stderr: string } {
  const { status, stdout, stderr, error } = spawnSync(program, [...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.input !== undefined && { input: options.input }),
    maxBuffer: 1 << 26,
  });
  if (error) throw error;
  assertEquals(
    status,
    options.status ?? 0,
    `${program} ${args.join(" ")}\n${stdout}\n${stderr}`,
  );
  return { stdout, stderr };
}
