/** The page that is embedded is what web/ makes, and holds what it promises. */

import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { PAGE, WORKER } from "../../lib/commands/tools/page_html.ts";
import { VERSION } from "../../lib/values/program.ts";
import { formatPageModule } from "../../packaging/page.ts";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** All of it, with the worker. */
const MAX_SIZE = 60_000;

// Only the Bun of releases makes the same bytes.
const { stdout } = spawnSync("bun", ["--version"], { encoding: "utf8" });
const isThere = stdout?.trim() === "1.4.5";
const mayMiss = !isThere && process.env["CI"] !== "true";

test("the embedded page is a fresh build (deno task page)", {
  skip: mayMiss ? "needs bun 1.4.5" : false,
}, () => {
  const found = runtime.files.readText(
    join(ROOT, "lib/commands/tools/page_html.ts"),
  );
  assertEquals(found, formatPageModule(["bun"]));
});

test("the page is one small file that fetches nothing of its own", () => {
  assert(PAGE.length + WORKER.length < MAX_SIZE, `${PAGE.length}`);
  assertMatch(
    PAGE,
    new RegExp(`content="knock ${VERSION.replaceAll(".", "\\.")}"`),
  );
  assertEquals(PAGE.match(/%[A-Z]+%/), null, "a part is missing");
  const sources = PAGE.matchAll(/\b(?:src|href)="([^"]*)"/g);
  assertEquals(
    [...sources].filter(([, url]) => !url!.startsWith("data:")),
    [],
  );
  assertEquals(PAGE.match(/\son\w+="|\sstyle="|innerHTML|\beval\(/), null);
});

test("the page's policy lets its own script and style run, and no others", () => {
  const [, policy] = /content="(default-src [^"]*)"/.exec(PAGE)!;
  const hashOf = (tag: string) => {
    const [, text] = new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`)
      .exec(PAGE)!;
    return `'sha256-${createHash("sha256").update(text!).digest("base64")}'`;
  };
  assertEquals(policy!.split("; "), [
    "default-src 'none'",
    `script-src ${hashOf("script")}`,
    `style-src ${hashOf("style")}`,
    "img-src data:",
    "manifest-src data:",
    "connect-src https:",
    "worker-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ]);
  // It stands before all that it rules.
  assert(PAGE.indexOf(policy!) < PAGE.search(/<(script|style|link)\b/));
});
