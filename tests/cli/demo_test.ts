/** `knock demo`: goes as it should, fits 80 columns, and leaves nothing behind. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runtime } from "../fakes/runtime.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(ROOT, "main.ts");
const PROGRAM = [
  process.execPath,
  ...runtime.name === "deno" ? ["run", "-A", "--no-check", "--quiet"] : ["run"],
  MAIN,
];
const COLUMNS = 80;

test("knock demo fits 80 columns, and leaves no file behind", {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "knock-demo-test-"));
  try {
    const [home, temporary] = ["home", "tmp"].map((name) => join(folder, name));
    for (const path of [home!, temporary!]) mkdirSync(path);
    const { code, stdout, stderr } = await runtime.run([...PROGRAM, "demo"], {
      env: {
        HOME: home!,
        XDG_STATE_HOME: "",
        XDG_CONFIG_HOME: "",
        TMPDIR: temporary!,
        // Deno's own cache.
        DENO_DIR: process.env["DENO_DIR"] ?? join(homedir(), ".cache/deno"),
      },
    });
    assertEquals(code, 0, stdout + stderr);
    assertMatch(
      stdout,
      /closed -> knock -> open -> expired -> closed: all as it should be/,
    );
    for (const line of stdout.split("\n")) assert(line.length <= COLUMNS, line);
    if (stdout.includes("namespaces")) {
      const picture = readFileSync(join(ROOT, "docs/demo.svg"), "utf8");
      const drawn = [...picture.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map(
        ([, line]) =>
          line!.replace(/<[^>]*>/g, "")
            .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)),
      );
      const timeless = (text: string) => text.replace(/\d+ ms/, "N ms");
      assertEquals(
        drawn.map(timeless),
        ["$ knock demo", ...stdout.trimEnd().split("\n")].map(timeless),
        "deno task picture",
      );
    }
    const left = [...readdirSync(home!), ...readdirSync(temporary!)];
    // Bun's own cache.
    assertEquals(left.filter((name) => name !== ".bun"), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
