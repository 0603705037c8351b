/** The log's way out: in order, never waiting, and saying what was lost. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { logQueue } from "../../lib/runtime/output.ts";
import { createLog } from "../../lib/server/report/log.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** A reader that takes so many bytes a write, and nothing while it is stopped. */
class Reader {
  text = "";
  go: PromiseWithResolvers<void> | null = null;
  readonly queue: ReturnType<typeof logQueue>;

  constructor(chunk = Infinity) {
    this.queue = logQueue(async (bytes) => {
      await this.go?.promise;
      const taken = bytes.slice(0, chunk);
      this.text += new TextDecoder().decode(taken);
      return taken.length;
    });
  }
}

test("logQueue writes all in order, however little is taken at a time", async () => {
  const reader = new Reader(3);
  for (let line = 0; line < 20; line++) reader.queue.write(`line ${line}\n`);
  await reader.queue.flush(1000);
  const want = Array.from({ length: 20 }, (_, line) => `line ${line}\n`);
  assertEquals(reader.text, want.join(""));
  assertEquals(reader.queue.isBusy(), false);
});

test("logQueue drops what finds no room, and goes on with its reader", async () => {
  const reader = new Reader();
  reader.go = Promise.withResolvers();
  const line = "x".repeat(999) + "\n";
  const kept = Array.from({ length: 1000 }, () => reader.queue.write(line));
  assertEquals(kept.filter(Boolean).length, 262);
  reader.go.resolve();
  await reader.queue.flush(1000);
  assertEquals(reader.text.length, 262_000);
  assertEquals(reader.queue.write("again\n"), true);
  await reader.queue.flush(1000);
  assertEquals(reader.text.endsWith("\nagain\n"), true);
});

test("logQueue.flush() gives up on a reader that has stopped", async () => {
  const reader = new Reader();
  reader.go = Promise.withResolvers();
  reader.queue.write("line\n");
  await reader.queue.flush(1);
  assertEquals(reader.queue.isBusy(), true);
  reader.go.resolve();
  await reader.queue.flush(1000);
});

test("logQueue tries again at a full pipe, and gives up at a broken one", async () => {
  const said = ["EAGAIN", "EAGAIN", "", "EPIPE", ""];
  let text = "";
  const queue = logQueue((bytes) => {
    const code = said.shift()!;
    if (code) return Promise.reject(new SystemError(code, code));
    text += new TextDecoder().decode(bytes);
    return Promise.resolve(bytes.length);
  });
  for (const line of ["one\n", "two\n", "three\n"]) {
    queue.write(line);
    await queue.flush(1000);
  }
  assertEquals(text, "one\nthree\n");
});

test("createLog() says how many lines were lost before the next one", () => {
  const runtime = new FakeRuntime();
  let reads = true;
  const written: string[] = [];
  Object.assign(runtime.log, {
    write: (text: string) => {
      if (reads) written.push(text);
      return reads;
    },
  });
  const log = createLog(runtime, { format: "text", level: "info" });
  log("info", "one");
  reads = false;
  log("info", "two");
  log("debug", "no line at all");
  log("info", "three");
  reads = true;
  log("info", "four");
  log("info", "five");
  const time = "2026-01-02T12:00:00.000Z";
  assertEquals(written, [
    `${time} info one\n`,
    `${time} warn log: 2 lines lost: nobody read them\n${time} info four\n`,
    `${time} info five\n`,
  ]);
});
