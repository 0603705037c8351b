import * as net from "node:net";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Stream } from "../../lib/runtime/runtime.ts";
import { runtime } from "../fakes/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

const { files } = runtime;

function inFolder(name: string, body: (folder: string) => unknown) {
  test(name, async () => {
    const folder = files.makeTemporaryFolder();
    try {
      await body(folder);
    } finally {
      files.removeFolder(folder);
    }
  });
}

function code(call: () => unknown): string {
  return assertThrows(call, SystemError).code;
}

inFolder("files.create() never overwrites, and keeps its mode", (folder) => {
  const path = `${folder}/secret`;
  files.create(path, "one", 0o600);
  assertEquals(code(() => files.create(path, "two", 0o600)), "EEXIST");
  assertEquals(files.readText(path), "one");
  assertEquals(files.stat(path)?.mode, 0o600);
});

inFolder("files.replace() keeps the mode and leaves nothing else", (folder) => {
  const path = `${folder}/file`;
  files.create(path, "one", 0o640);
  files.replace(path, "two", 0o600);
  assertEquals(files.readText(path), "two");
  assertEquals(files.stat(path)?.mode, 0o640);
  assertEquals(files.list(folder), ["file"]);
});

inFolder("files say what is not there", (folder) => {
  assertEquals(files.stat(`${folder}/none`), null);
  assertEquals(code(() => files.readText(`${folder}/none`)), "ENOENT");
  assertEquals(code(() => files.readText(folder)), "EISDIR");
});

inFolder("openDatabase() makes a file for its owner alone", async (folder) => {
  const path = `${folder}/state.db`;
  const database = await runtime.openDatabase(path);
  database.exec("create table a (b blob primary key)");
  const insert = database.prepare("insert or ignore into a values (?)");
  assertEquals(insert.run(Uint8Array.of(1, 2)), 1);
  assertEquals(insert.run(Uint8Array.of(1, 2)), 0);
  assertEquals(code(() => database.exec("nonsense")) !== "ENOENT", true);
  const row = database.prepare("select b from a").get();
  assertEquals(new Uint8Array(row!.b as Uint8Array), Uint8Array.of(1, 2));
  database.close();
  assertEquals(files.stat(path)?.mode, 0o600);
});

const LIMIT = { timeoutMs: 1000 };

test("run() gives status and output, and needs no shell", async () => {
  const ran = await runtime.run(["cat"], { stdin: "$HOME `x`" });
  assertEquals(ran, { code: 0, stdout: "$HOME `x`", stderr: "" });
  assertEquals((await runtime.run(["false"])).code, 1);
  const env = await runtime.run(["printenv", "KNOCK_X"], {
    env: { KNOCK_X: "a b" },
  });
  assertEquals(env.stdout, "a b\n");
});

test("run() says that a program is missing", async () => {
  const error = await assertRejects(
    () => runtime.run(["no-such-program"]),
    SystemError,
  );
  assertEquals(error.code, "ENOENT");
});

test("run() ends a program and its children at the time limit", async () => {
  const ran = await runtime.run(["sh", "-c", "sleep 60 & sleep 60"], {
    timeoutMs: 50,
  });
  assertEquals(ran.code, null);
});

test("spawn() hands out output as it comes", async () => {
  const child = runtime.spawn(["sh", "-c", "echo one; exec sleep 60"]);
  const output = child.stdout[Symbol.asyncIterator]();
  const { value } = await output.next();
  assertEquals(new TextDecoder().decode(value), "one\n");
  child.kill("SIGKILL");
  assertEquals(await child.ended, null);
  assertEquals((await output.next()).done, true);
  for await (const bytes of child.stderr) assertEquals(bytes.length, 0);
});

test("listenDatagram() is dual-stack and shows IPv4 as IPv4", async () => {
  const got: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = await runtime.listenDatagram(
    { host: "::", port: 0 },
    (bytes, source) => {
      got.push(`${source.host} ${bytes.length}`);
      server.send(Uint8Array.of(9), source);
    },
  );
  const { port } = server.at;
  let replies = 0;
  const client = await runtime.listenDatagram({ host: "::", port: 0 }, () => {
    if (++replies === 2) resolve();
  });
  await client.send(new Uint8Array(5), { host: "127.0.0.1", port });
  await client.send(new Uint8Array(7), { host: "::1", port });
  await promise;
  assertEquals(got.sort(), ["127.0.0.1 5", "::1 7"]);
  server.close();
  client.close();
});

test("listenDatagram() says that a port is in use", async () => {
  const first = await runtime.listenDatagram({ host: "::", port: 0 }, () => {});
  const error = await assertRejects(
    () => runtime.listenDatagram({ host: "::", port: first.at.port }, () => {}),
    SystemError,
  );
  assertEquals(error.code, "EADDRINUSE");
  first.close();
});

test("streams half-close: an answer comes after the end of the question", async () => {
  const listener = await runtime.listenStream(
    { host: "::", port: 0 },
    async (connection: Stream) => {
      const text = await readAll(connection);
      await connection.write(new TextEncoder().encode(text.toUpperCase()));
      await connection.finish();
    },
  );
  const stream = await runtime.connectStream({
    host: "127.0.0.1",
    port: listener.at.port,
  }, LIMIT);
  await stream.write(new TextEncoder().encode("hello"));
  await stream.finish();
  assertEquals(await readAll(stream), "HELLO");
  assertEquals(stream.peer.host, "127.0.0.1");
  stream.close();
  stream.close();
  listener.close();
});

test("connectStream() says that nobody listens", async () => {
  const error = await assertRejects(
    () => runtime.connectStream({ host: "127.0.0.1", port: 1 }, LIMIT),
    SystemError,
  );
  assertEquals(error.code, "ECONNREFUSED");
});

const libcSkip = process.platform === "linux" ? false : "needs Linux";

test("a library's memory: addresses of bytes, and what a pointer points to", {
  skip: libcSkip,
}, async () => {
  const libc = await runtime.openLibrary("libc.so.6", {
    close: { parameters: ["i32"], result: "i32" },
    memcpy: { parameters: ["buffer", "buffer", "u32"], result: "pointer" },
    __errno_location: { parameters: [], result: "pointer" },
  });
  if (!libc) throw new Error("no libc.so.6");
  const bytes = new Uint8Array(new ArrayBuffer(16));
  assertEquals(libc.addressOf(bytes) > 0n, true);
  const rest = bytes.subarray(8);
  assertEquals(libc.addressOf(rest) - libc.addressOf(bytes), 8n);
  // It gives back where it has written.
  const from = Uint8Array.of(1, 2, 3);
  const written = libc.call("memcpy", bytes, from, from.length);
  assertEquals(bytes.subarray(0, 4), Uint8Array.of(1, 2, 3, 0));
  const seen = new Uint8Array(libc.memoryAt(written, bytes.length));
  assertEquals(seen, bytes);
  const errno = new Int32Array(
    libc.memoryAt(libc.call("__errno_location"), 4),
  );
  assertEquals([libc.call("close", -1), errno[0]], [-1, 9]);
  libc.close();
});

test("openLibrary() is null for what is not there", async () => {
  assertEquals(await runtime.openLibrary("libnone.so.9", {}), null);
});

test("signalProcess() tells whether a process is there", () => {
  assert(runtime.signalProcess(runtime.pid, "test"));
  assert(!runtime.signalProcess(0x3fffff, "test"));
});

async function readAll(stream: Stream): Promise<string> {
  let text = "";
  for (let part; (part = await stream.read());) {
    text += new TextDecoder().decode(part);
  }
  return text;
}

test("listenDatagram() apart hears both families on one port, and answers them", async () => {
  const heard: string[] = [];
  const server = await runtime.listenDatagram(
    { host: "::", port: 0 },
    (bytes, source) => {
      heard.push(source.host);
      server.send(bytes, source);
    },
    { apart: true },
  );
  const { port } = server.at;
  for (const host of ["127.0.0.1", "::1"]) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const client = await runtime.listenDatagram(
      { host, port: 0 },
      (bytes) => resolve(bytes[0]!),
    );
    await client.send(Uint8Array.of(7), { host, port });
    assertEquals(await promise, 7);
    await client.close();
  }
  assertEquals(heard, ["127.0.0.1", "::1"]);
  await assertRejects(
    () =>
      runtime.listenDatagram({ host: "::", port }, () => {}, { apart: true }),
    SystemError,
  );
  await server.close();
  const again = await runtime.listenDatagram({ host: "::", port }, () => {});
  await again.close();
});

test("a connection has no buffer before it is read", async () => {
  const CONNECTIONS = 200;
  const held: Stream[] = [];
  const listener = await runtime.listenStream(
    { host: "127.0.0.1", port: 0 },
    (connection) => void held.push(connection),
  );
  const used = () => {
    const { external, arrayBuffers } = process.memoryUsage();
    return external + (arrayBuffers ?? 0);
  };
  const before = used();
  const sockets = Array.from(
    { length: CONNECTIONS },
    () => net.connect(listener.at.port, "127.0.0.1"),
  );
  await Promise.all(
    sockets.map((socket) =>
      new Promise((resolve) => socket.once("close", resolve).resume())
    ).concat((async () => {
      while (held.length < CONNECTIONS) await runtime.sleep(5);
      const each = (used() - before) / CONNECTIONS;
      for (const connection of held) connection.close();
      // A buffer is 64 KiB.
      assert(each < 32 * 1024, `${each} bytes a connection`);
    })() as Promise<unknown>),
  );
  await listener.close();
});
