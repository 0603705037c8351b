/** Every counter that `knock status` shows has a row in docs/troubleshooting.md. */

import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { shownCounters } from "../../lib/server/report/counters.ts";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const read = (path: string) => runtime.files.readText(join(ROOT, path));

function sources(folder: string): string[] {
  return runtime.files.list(folder).flatMap((name) => {
    const path = join(folder, name);
    if (runtime.files.stat(path)!.isFolder) return sources(path);
    return name.endsWith(".ts") ? [runtime.files.readText(path)] : [];
  });
}

const lib = sources(join(ROOT, "lib"));

/** Members of a union of strings: `export type NAME = | "a" | "b";`. */
function union(name: string): string[] {
  const text = lib.find((one) => one.includes(`export type ${name} =`))!;
  const body = text.split(`export type ${name} =`)[1]!.split(";")[0]!;
  return [...body.matchAll(/"([^"]+)"/g)].map(([, member]) => member!);
}

const refusals = ["PacketRefusal", "PolicyRefusal"].flatMap((name) =>
  union(name).map((why) => `refused: ${why}`)
);
const counted = lib.flatMap((text) =>
  [...text.matchAll(/\badd\(\s*"(received|run|[a-z ]+: [a-z ]+)"/g)].map((
    [, name],
  ) => name!)
);
const kernel = lib.flatMap((text) =>
  [...text.matchAll(/"(kernel: [a-z ]+)"/g)].map(([, name]) => name!)
);

test("every counter and every refusal has its row in docs/troubleshooting.md", () => {
  assert(refusals.length > 20 && counted.length > 8 && kernel.length > 1);
  const rows = new Set(
    [...read("docs/troubleshooting.md").matchAll(/^\| (`[^|]+) \|/gm)]
      .flatMap(([, cell]) =>
        [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)
      ),
  );
  const actions = union("Action");
  const all = new Set([...refusals, ...counted, ...kernel, ...actions]);
  assertEquals([...all].filter((name) => !rows.has(name)).sort(), []);
  // And words that `knock status` shows beside it.
  const meant = shownCounters(
    Object.fromEntries([...all].map((name) => [name, 1])),
  );
  assertEquals(
    meant.filter(({ meaning }) => meaning === "").map(({ name }) => name),
    [],
  );
  // And none of a counter that is no more.
  const isInUse = (name: string) =>
    all.has(name) ||
    lib.some((text) => text.includes(`"${name.replace("refused: ", "")}"`));
  assertEquals([...rows].filter((name) => !isInUse(name)), []);
});
