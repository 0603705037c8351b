import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { createLog } from "../../lib/server/report/log.ts";
import { escapeUnsafe } from "../../lib/values/text.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const unsafe: readonly [text: string, want: string][] = [
  ["open alice tcp/22", "open alice tcp/22"],
  ["Grüße, 世界 🙂", "Grüße, 世界 🙂"],
  ["a\nb\r\0", "a\\u{0a}b\\u{0d}\\u{00}"],
  ["\x1b[2J\x9b", "\\u{1b}[2J\\u{9b}"],
  ["\u202egpj.exe\u2028", "\\u{202e}gpj.exe\\u{2028}"],
];

for (const [text, want] of unsafe) {
  test(`escapeUnsafe() writes ${JSON.stringify(text)} on one line`, () => {
    assertEquals(escapeUnsafe(text), want);
  });
}

test("createLog() lets nobody write a line of his own", () => {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const log = createLog(runtime, { format: "text", level: "info" });
  log("warn", "refused alice x\n2026-01-02T12:00:00.000Z info open mallory");
  assertEquals(runtime.stderr.trimEnd().split("\n").length, 1);
});
