import { assertEquals } from "@std/assert";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { VERSION } from "../../lib/values/program.ts";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

for (const file of ["deno.json", "package.json"]) {
  test(`VERSION is that of ${file}`, () => {
    const text = runtime.files.readText(join(ROOT, file));
    assertEquals(JSON.parse(text).version, VERSION);
  });
}
