/** Imports run one way: a folder of lib/ may import itself and those below it. */

import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runtime } from "./runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** What each folder may import besides itself. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  values: [],
  runtime: ["values"],
  dialects: ["values"],
  firewall: ["values", "runtime"],
  sequences: ["values", "runtime", "firewall"],
  config: ["values", "runtime", "dialects", "firewall", "sequences"],
  server: ["values", "runtime", "dialects", "firewall", "sequences", "config"],
  client: ["values", "runtime", "dialects", "firewall", "sequences", "config"],
  commands: [
    "values",
    "runtime",
    "dialects",
    "firewall",
    "sequences",
    "config",
    "server",
    "client",
  ],
};

/** Of the runtime, all but main and itself take only the interface. */
const INTERFACE = "lib/runtime/runtime.ts";

/** Words of a runtime, a clock or randomness: they stay in lib/runtime. */
const IMPURE =
  /\b(Deno|Bun)\.|\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bprocess\.|\brandomBytes\(|from "node:(fs|net|dgram|child_process|os|process|sqlite|dns)/;

/** node:net tells only what an address looks like here. */
const PURE_USES = new Set(["lib/values/address.ts"]);

function sources(folder: string): string[] {
  return runtime.files.list(folder).flatMap((name) => {
    const path = join(folder, name);
    if (runtime.files.stat(path)!.isFolder) return sources(path);
    return name.endsWith(".ts") ? [path] : [];
  });
}

const files = sources(join(ROOT, "lib")).map((path) => ({
  name: relative(ROOT, path).replaceAll("\\", "/"),
  path,
  text: runtime.files.readText(path),
}));

test("imports run one way", () => {
  assert(files.length > 50);
  const wrong: string[] = [];
  for (const { name, path, text } of files) {
    const folder = name.split("/")[1]!;
    const imports = text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g);
    for (const [, target] of imports) {
      const to = relative(ROOT, join(dirname(path), target!))
        .replaceAll("\\", "/");
      const below = to.split("/")[1]!;
      const allowed = folder === below || BELOW[folder]?.includes(below);
      const whole = below !== "runtime" || folder === "runtime" ||
        to === INTERFACE;
      if (!allowed || !whole) wrong.push(`${name} imports ${to}`);
    }
  }
  assertEquals(wrong, []);
});

test("only lib/runtime touches the system", () => {
  const wrong = files
    .filter(({ name }) =>
      !name.startsWith("lib/runtime/") && !PURE_USES.has(name)
    )
    .flatMap(({ name, text }) => {
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      const found = IMPURE.exec(code);
      return found ? [`${name}: ${found[0]}`] : [];
    });
  assertEquals(wrong, []);
});

test("what Deno does not see as an import, deno.json has it compile", () => {
  const hidden = files.flatMap(({ path, text }) =>
    [...text.matchAll(/import\(\s*"(\.[^"]+)" as string/g)].map(([, target]) =>
      relative(ROOT, join(dirname(path), target!)).replaceAll("\\", "/")
    )
  );
  const { compile } = JSON.parse(
    runtime.files.readText(join(ROOT, "deno.json")),
  );
  assert(hidden.length > 20);
  assertEquals(compile.include, hidden.sort());
});
