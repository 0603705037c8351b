/** Archives as the system's own programs read them. */

import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { join } from "node:path";
import { type Entry, formatAr, formatTar } from "../../packaging/archive.ts";
import { runtime } from "../fakes/runtime.ts";

const SECONDS = 1_767_225_600;

const entries: Entry[] = [
  { path: "etc/b", mode: 0o644, data: new TextEncoder().encode("words\n") },
  { path: "etc/a", mode: 0o755, data: new Uint8Array(1025) },
  { path: "empty", mode: 0o700, data: null },
];

async function list(
  argv: string[],
  name: string,
  bytes: Uint8Array,
): Promise<string[] | null> {
  const folder = runtime.files.makeTemporaryFolder();
  try {
    const path = join(folder, name);
    runtime.files.create(path, bytes, 0o600);
    const { stdout } = await runtime.run([...argv, path], {
      env: { TZ: "UTC", LC_ALL: "C" },
    });
    return stdout.trim().split("\n");
  } catch {
    return null;
  } finally {
    runtime.files.removeFolder(folder);
  }
}

test("formatTar() is what tar lists, with the folders, in order", async (t) => {
  const lines = await list(
    ["tar", "-tvf"],
    "a.tar",
    formatTar(entries, SECONDS),
  );
  if (!lines?.[0]?.includes("root/root")) return t.skip("needs GNU tar");
  assertEquals(lines.map((line) => line.replace(/ +/g, " ")), [
    "drwxr-xr-x root/root 0 2026-01-01 00:00 ./",
    "drwx------ root/root 0 2026-01-01 00:00 ./empty/",
    "drwxr-xr-x root/root 0 2026-01-01 00:00 ./etc/",
    "-rwxr-xr-x root/root 1025 2026-01-01 00:00 ./etc/a",
    "-rw-r--r-- root/root 6 2026-01-01 00:00 ./etc/b",
  ]);
});

test("formatTar() ends in whole blocks, whatever the order of the entries", () => {
  const bytes = formatTar(entries, SECONDS);
  assertEquals(bytes.length % 512, 0);
  assertEquals(bytes, formatTar([...entries].reverse(), SECONDS));
});

test("formatTar() refuses a path that does not fit", () => {
  const path = "x".repeat(120);
  assertThrows(
    () => formatTar([{ path, mode: 0o644, data: null }], SECONDS),
    Error,
    "too long",
  );
});

test("formatAr() puts an odd file on an even place", () => {
  const data = new TextEncoder().encode("abc");
  const bytes = formatAr([
    { path: "one", mode: 0o644, data },
    { path: "two", mode: 0o644, data },
  ], SECONDS);
  assertEquals(
    new TextDecoder().decode(bytes),
    "!<arch>\n" +
      "one             1767225600  0     0     100644  3         `\nabc\n" +
      "two             1767225600  0     0     100644  3         `\nabc\n",
  );
});
