/** Files by each runtime's own calls, and by node:fs, which says why in both. */

import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { files, MAX_FILE_SIZE } from "../../lib/runtime/files.ts";
import { runtime } from "../fakes/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

const BOM = "\ufeff";

/** Fills the folder: files, links, things that are neither. */
function fill(folder: string): void {
  const path = (name: string) => join(folder, name);
  fs.writeFileSync(path("plain"), "words");
  fs.writeFileSync(path("empty"), "");
  fs.writeFileSync(path("bom"), `${BOM}words`);
  fs.writeFileSync(path("latin"), Uint8Array.of(0x41, 0xff));
  fs.writeFileSync(path("set-id"), "", { mode: 0o600 });
  fs.chmodSync(path("set-id"), 0o4750);
  fs.mkdirSync(path("folder"), { mode: 0o700 });
  fs.symlinkSync("plain", path("link"));
  fs.symlinkSync("missing", path("dangling"));
  fs.symlinkSync("loop", path("loop"));
  // Sparse: they take no room.
  for (const [name, size] of [["most", 0], ["large", 1]] as const) {
    fs.writeFileSync(path(name), "");
    fs.truncateSync(path(name), MAX_FILE_SIZE + size);
  }
}

/** Contents that are read, or the error's code. */
const READ: [name: string, want: string][] = [
  ["plain", "words"],
  ["empty", ""],
  ["bom", "words"],
  ["latin", "A\ufffd"],
  ["link", "words"],
  ["missing", "ENOENT"],
  ["", "EISDIR"],
  ["dangling", "ENOENT"],
  ["loop", "ELOOP"],
  ["folder", "EISDIR"],
  ["plain/below", "ENOTDIR"],
  ["large", "EFBIG"],
];

function outcome(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { code: error.code, message: error.message };
  }
}

const skip = runtime.platform === "linux" ? false : "needs Linux";

test("files say the same by the runtime's own calls and by node:fs", {
  skip,
}, () => {
  const folder = files.makeTemporaryFolder();
  try {
    fill(folder);
    for (const [name, want] of READ) {
      const path = join(folder, name);
      const text = outcome(() => runtime.files.readText(path));
      const code = (text as { code?: string }).code;
      assertEquals(code ?? text, want, name);
      for (const call of ["readText", "readBytes", "stat"] as const) {
        assertEquals(
          outcome(() => runtime.files[call](path)),
          outcome(() => files[call](path)),
          `${call} of ${name}`,
        );
      }
    }
    const { mode } = runtime.files.stat(join(folder, "set-id"))!;
    assertEquals(mode, 0o4750);
    const most = runtime.files.readBytes(join(folder, "most"));
    assertEquals(most.length, MAX_FILE_SIZE);
  } finally {
    files.removeFolder(folder);
  }
});

test("readText() reads what the kernel writes when it is read, of size 0", {
  skip,
}, () => {
  const path = "/proc/sys/kernel/random/boot_id";
  assertEquals(runtime.files.stat(path)!.size, 0);
  assertEquals(runtime.files.readText(path).length, 37);
  assertEquals(runtime.files.readBytes(path), files.readBytes(path));
});

test("readText() reads a pipe with a name once, to its end", {
  skip,
}, async () => {
  const folder = files.makeTemporaryFolder();
  try {
    const pipe = join(folder, "pipe");
    const made = await runtime.run(["mkfifo", pipe]);
    assertEquals(made.code, 0, made.stderr);
    const writer = runtime.spawn(["sh", "-c", 'echo words > "$1"', "", pipe]);
    assertEquals(runtime.files.readText(pipe), "words\n");
    assertEquals(await writer.ended, 0);
    for (const stream of [writer.stdout, writer.stderr]) {
      for await (const _ of stream);
    }
  } finally {
    files.removeFolder(folder);
  }
});
