/**
 * `deno compile` with the program deno itself as its base runtime: what it
 * writes does not start, and holds every module that the program may load, late
 * ones and the page for browsers too.
 */

import { assert, assertEquals } from "@std/assert";
import type { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../lib/commands/table.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Bytes at the beginning of a module that tell it from others. */
const SAMPLE = 400;
/** A module without such a line has types alone, and is not loaded. */
const HAS_CODE = /^(export )?(async )?(abstract )?(function|const|let|class) /m;

/** The program deno, which is its own base runtime here; null where there is none. */
function findDeno(): string | null {
  const said = spawnSync("deno", ["eval", "console.log(Deno.execPath())"], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  return said.status === 0 ? said.stdout.trim() : null;
}

function modules(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return modules(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

const deno = findDeno();
const skip = deno === null && process.env["CI"] !== "true" && "needs deno";

test("deno compile holds every module", { skip, timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "knock-compile-"));
  try {
    const output = join(folder, "knock");
    const said = spawnSync(deno!, [
      ...["compile", "--no-check", "-A", "--unstable-net", "--quiet"],
      ...["--output", output, "main.ts"],
    ], {
      cwd: ROOT,
      encoding: "utf8",
      env: { ...process.env, DENORT_BIN: deno! },
    });
    assertEquals(said.status, 0, said.stderr);
    const name = readdirSync(folder).find((file) => file.startsWith("knock"))!;
    // Behind the base; as text, because that is searched much faster.
    const held = readFileSync(join(folder, name))
      .subarray(statSync(deno!).size).toString("latin1");
    const holds = (part: Buffer) => held.includes(part.toString("latin1"));
    const all = modules(join(ROOT, "lib")).map((path) => ({
      path: relative(ROOT, path).replaceAll("\\", "/"),
      text: readFileSync(path),
    }));
    const missing = all
      .filter(({ text }) => HAS_CODE.test(text.toString()))
      .filter(({ text }) => !holds(text.subarray(0, SAMPLE)));
    assertEquals(missing.map(({ path }) => path), []);
    assert(all.length > Object.keys(COMMANDS).length);
    const page = all.find(({ path }) => path.endsWith("/page_html.ts"))!;
    assert(holds(page.text.subarray(-SAMPLE)), "the whole page");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
