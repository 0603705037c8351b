import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseListen, serverSchema } from "../../lib/config/shape.ts";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

const places: [text: string, host: string | null, port?: number][] = [
  ["62201", "::", 62201],
  ["1", "::", 1],
  ["192.0.2.1:1", "192.0.2.1", 1],
  ["[2001:DB8::1]:1", "2001:db8::1", 1],
  ["[::]:1", "::", 1],
  ["0", null],
  ["65536", null],
  ["192.0.2.1", null],
  ["192.0.2.1:0", null],
  ["2001:db8::1:62201", null],
  ["localhost:1", null],
  ["", null],
];

for (const [text, host, port] of places) {
  test(`parseListen() reads "${text}" as ${host} ${port ?? ""}`, () => {
    const want = host === null ? null : { host, port };
    assertEquals(parseListen(text) as unknown, want);
  });
}

test("docs/configuration.md names every key", () => {
  const docs = runtime.files.readText(join(ROOT, "docs/configuration.md"));
  const missing = keysOf(serverSchema.json).filter((key) =>
    !new RegExp(`\\b${key}\\b`).test(docs)
  );
  assertEquals(missing, []);
  assert(keysOf(serverSchema.json).includes("require_address"));
});

function keysOf(json: unknown): string[] {
  if (typeof json !== "object" || json === null) return [];
  const { properties = {} } = json as { properties?: object };
  return [
    ...Object.keys(properties),
    ...Object.values(json).flatMap(keysOf),
    ...Object.values(properties).flatMap(keysOf),
  ];
}
