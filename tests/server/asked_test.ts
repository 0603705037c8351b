/** The socket in the state folder, by which `status` and `doctor` ask a running server. */

import { assert, assertEquals } from "@std/assert";
import { join, relative } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  askServer,
  listenForAsks,
  SOCKET_FILE,
} from "../../lib/server/report/asked.ts";
import { runtime } from "../fakes/runtime.ts";

const { files } = runtime;

function inFolder(name: string, body: (folder: string) => Promise<void>) {
  test(name, async () => {
    const folder = files.makeTemporaryFolder();
    try {
      await body(folder);
    } finally {
      files.removeFolder(folder);
    }
  });
}

inFolder(
  "a server that is asked brings the state up to date first",
  async (folder) => {
    let updates = 0;
    const listener = await listenForAsks(runtime, folder, () => {
      updates++;
      return Promise.resolve();
    });
    assertEquals(await askServer(runtime, folder), true);
    assertEquals(updates, 1);
    assertEquals(
      await Promise.all([1, 2, 3].map(() => askServer(runtime, folder))),
      [true, true, true],
    );
    assert(updates >= 2 && updates <= 4, `${updates}`);
    await listener!.close();
    assertEquals(files.list(folder), []);
    assertEquals(await askServer(runtime, folder), false);
  },
);

inFolder("a folder may be named from the working directory", async (folder) => {
  const here = relative(process.cwd(), folder);
  const done = () => Promise.resolve();
  const listener = await listenForAsks(runtime, here, done);
  assertEquals(await askServer(runtime, here), true);
  assertEquals(await askServer(runtime, folder), true);
  await listener!.close();
});

inFolder("a socket that a killed server left is taken over", async (folder) => {
  files.create(join(folder, SOCKET_FILE), "", 0o600);
  assertEquals(await askServer(runtime, folder), false);
  const listener = await listenForAsks(
    runtime,
    folder,
    () => Promise.resolve(),
  );
  assertEquals(await askServer(runtime, folder), true);
  await listener!.close();
});

inFolder(
  "nobody is asked where the path is too long for a socket",
  async (folder) => {
    const deep = join(folder, "x".repeat(100));
    files.makeFolder(deep, 0o700);
    assertEquals(
      await listenForAsks(runtime, deep, () => Promise.resolve()),
      null,
    );
    assertEquals(await askServer(runtime, deep), false);
  },
);
