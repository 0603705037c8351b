import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

test("FakeRuntime sleeps without waiting, timers in their order", async () => {
  const fake = new FakeRuntime();
  const told: string[] = [];
  const regular = fake.every(400, () => told.push(`${fake.monotonicMs()}`));
  await Promise.all([
    fake.sleep(1000).then(() => told.push("long")),
    fake.sleep(500).then(() => told.push("short")),
  ]);
  regular.stop();
  assertEquals(told, ["400", "short", "800", "long"]);
  assertEquals(fake.nowMs(), START_MS + 1000);
});

test("FakeRuntime stands still until it is stepped by hand", async () => {
  const fake = new FakeRuntime({ steps: "by hand" });
  let woke = false;
  fake.sleep(1000).then(() => woke = true);
  await fake.clock.advance(999);
  assertEquals(woke, false);
  await fake.clock.advance(1);
  assertEquals(woke, true);
});

test("FakeRuntime sleep() ends when aborted", async () => {
  const fake = new FakeRuntime({ steps: "by hand" });
  const abort = new AbortController();
  const sleep = fake.sleep(1000, abort.signal);
  abort.abort();
  await sleep;
  assertEquals(fake.nowMs(), START_MS);
});

test("FakeRuntime keeps files with modes, and says ENOENT and EEXIST", () => {
  const { files } = new FakeRuntime({ files: { "/etc/knock/a": "one" } });
  assertEquals(files.readText("/etc/knock/a"), "one");
  assertEquals(files.stat("/etc/knock/a")?.mode, 0o600);
  files.chmod("/etc/knock/a", 0o640);
  files.replace("/etc/knock/a", "two", 0o600);
  assertEquals(files.stat("/etc/knock/a")?.mode, 0o640);
  assertEquals(files.list("/etc"), ["knock"]);
  assertThrows(() => files.create("/etc/knock/a", "", 0o600), SystemError);
  assertThrows(() => files.readText("/nowhere"), SystemError);
  files.failingWrites.set("/etc/knock/a", "ENOSPC");
  assertThrows(() => files.replace("/etc/knock/a", "", 0o600), SystemError);
  assertEquals(files.readText("/etc/knock/a"), "two");
});

test("FakeRuntime carries datagrams, and spoils the buffer after", async () => {
  const fake = new FakeRuntime();
  const heard: [string, Uint8Array][] = [];
  const server = await fake.listenDatagram(
    { host: "::", port: 62201 },
    (bytes, source) => {
      heard.push([source.host, bytes]);
      assertEquals(bytes, Uint8Array.of(1, 2));
    },
  );
  const client = await fake.listenDatagram({ host: "::", port: 0 }, () => {});
  await client.send(Uint8Array.of(1, 2), { host: "127.0.0.1", port: 62201 });
  await fake.sleep(1);
  assertEquals(heard, [["127.0.0.1", Uint8Array.of(0xee, 0xee)]]);
  await server.close();
  await client.close();
  assertEquals(fake.network.open, 0);
  await assertRejects(() => fake.resolve("nowhere.example"), SystemError);
});

test("FakeRuntime connects streams, with half-close", async () => {
  const fake = new FakeRuntime();
  const listener = await fake.listenStream(
    { host: "127.0.0.1", port: 22 },
    async (connection) => {
      const asked = await connection.read();
      await connection.write(Uint8Array.of(asked![0]! + 1));
      await connection.finish();
    },
  );
  const stream = await fake.connectStream({ host: "127.0.0.1", port: 22 });
  await stream.write(Uint8Array.of(7));
  assertEquals(await stream.read(), Uint8Array.of(8));
  assertEquals(await stream.read(), null);
  stream.close();
  stream.close();
  await listener.close();
  await assertRejects(
    () => fake.connectStream({ host: "127.0.0.1", port: 22 }),
    SystemError,
  );
});

test("FakeRuntime keeps the rows of a database that is opened again", async () => {
  const fake = new FakeRuntime();
  const first = await fake.openDatabase("/state");
  first.exec("create table t (x)");
  assertEquals(first.prepare("insert into t values (?)").run(7), 1);
  first.close();
  const again = await fake.openDatabase("/state");
  assertEquals(again.prepare("select x from t").get()?.["x"], 7);
  fake.databases.failing = "ENOSPC";
  assertThrows(() => again.exec("delete from t"), SystemError);
});
