/** A fresh copy of the project whose packages cannot be fetched: one line, and what to type. */

import { assertEquals } from "@std/assert";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FILES = ["main.ts", "deno.json", "deno.lock", "package.json", "lib"];
const isDeno = runtime.name === "deno";
const RUN = isDeno
  ? ["run", "--cached-only", "--quiet", "-A"]
  : ["run", "--no-install"];

for (const args of [["version"], ["demo"], ["client", "list"]]) {
  test(`knock ${args.join(" ")}, without its packages, says how to get them`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "knock-fresh-"));
    try {
      for (const name of FILES) {
        cpSync(join(ROOT, name), join(folder, name), { recursive: true });
      }
      const { code, stdout, stderr } = await runtime.run(
        [process.execPath, ...RUN, join(folder, "main.ts"), ...args],
        { env: { DENO_DIR: join(folder, "cache") } },
      );
      assertEquals(
        stderr,
        "knock: error: a package that it is built on is not on this machine, " +
          "and cannot be fetched\n" +
          `knock: hint: run \`${
            isDeno ? "deno" : "bun"
          } install\` in the checkout, with a network\n`,
      );
      assertEquals([code, stdout], [1, ""]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
