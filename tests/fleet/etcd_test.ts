/** Calls, leases, watches and health on an etcd in memory, which refuses and forgets as told. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { test } from "node:test";
import { EtcdEngine } from "../../lib/fleet/etcd/engine.ts";
import { failureOf, linesOf } from "../../lib/fleet/etcd/wire.ts";
import type {
  EngineMark,
  FleetConfig,
  FolderReader,
  KeyValue,
} from "../../lib/fleet/fleet.ts";
import { EngineMarks } from "../../lib/fleet/mark.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { FakeEtcd } from "../fakes/fake_etcd.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const HOUR_MS = 3_600_000;
const SERVERS = ["http://a", "http://b", "http://c"];
const USER = { name: "knock", password: "right" };

/** An engine on a cluster in memory. */
function open(
  over: Partial<FleetConfig> = {},
  etcd = new FakeEtcd(),
  known: EngineMark | null = null,
) {
  const runtime = new FakeRuntime();
  runtime.openHttp = () => etcd;
  const opened = { replaced: 0 };
  const engine = new EtcdEngine(
    runtime,
    {
      ...{ engine: "etcd", servers: SERVERS, name: "gw1", user: null },
      ...{ prefix: "knock/test", secret: new Uint8Array(32), token: null },
      ...{ tls: { ca: null, cert: null, key: null }, credentials: null },
      ...{ without: "refuse", staleMs: HOUR_MS, ...over },
    },
    new EngineMarks(known, () => void opened.replaced++),
  );
  return { runtime, etcd, engine, opened };
}

/** Lets what waits go on, until something is so. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    if (turn > 500) throw new Error(`never: ${what}`);
    await new Promise((go) => setTimeout(go));
  }
}

test("a last try that is cut short does not hide the reason of the one before it", async () => {
  const { runtime, etcd, engine } = open({ servers: ["http://a"] });
  const tries: number[] = [];
  let nowMs = 0;
  runtime.monotonicMs = () => nowMs;
  runtime.sleep = () => Promise.resolve(void (nowMs = 5999));
  etcd.post = (_url, _body, { timeoutMs }) => {
    tries.push(timeoutMs);
    const [code, words] = timeoutMs < 1000
      ? ["ETIMEDOUT", "no answer in time"]
      : ["ECONNREFUSED", "connection refused"];
    return Promise.reject(new SystemError(code, words));
  };
  const why = await whyNot(engine.put("clients/bob", "1", null));
  assertEquals([why, ...tries], ["connection refused", 1000, 1]);
});

/** Words of an error of the system. */
async function whyNot(work: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => work, SystemError)).message;
}

class Told implements FolderReader {
  readonly keys = new Map<string, string>();
  begun = 0;
  ended = 0;
  told: string[] = [];
  losses: string[] = [];
  #seen = new Set<string>();
  /** Changes that it cannot take. */
  refused = 0;
  begin(): void {
    this.begun++;
    this.#seen.clear();
  }
  changed(changes: readonly KeyValue[]): void {
    if (this.refused > 0) {
      this.refused--;
      throw new SystemError("ENOSPC", "the disk is full");
    }
    for (const { key, value } of changes) {
      this.told.push(key);
      this.#seen.add(key);
      if (value !== null) this.keys.set(key, value);
      else this.keys.delete(key);
    }
  }
  end(): void {
    this.ended++;
    for (const key of [...this.keys.keys()]) {
      if (!this.#seen.has(key)) this.keys.delete(key);
    }
  }
  lost(why: string): void {
    this.losses.push(why);
  }
}

const FAILURES: readonly (readonly [
  code: number,
  message: string,
  kind: string,
  words?: RegExp,
])[] = [
  [16, "etcdserver: invalid auth token", "token"],
  [3, "etcdserver: revision of auth store is old", "token"],
  [3, "etcdserver: user name is empty", "user", /without a user/],
  [
    3,
    "etcdserver: authentication failed, invalid user ID or password",
    "user",
    /wrong/,
  ],
  [7, "etcdserver: permission denied", "user", /readwrite/],
  [7, "denied by a proxy", "user", /^denied by a proxy$/],
  [9, "etcdserver: authentication is not enabled", "user", /auth enable/],
  [5, "etcdserver: requested lease not found", "lease"],
  [14, "etcdserver: no leader", "elsewhere"],
  [4, "context deadline exceeded", "elsewhere"],
  [2, "etcdserver: request timed out", "elsewhere"],
  [8, "etcdserver: too many requests", "elsewhere"],
  [8, "etcdserver: mvcc: database space exceeded", "final", /^mvcc: database/],
  [11, "etcdserver: mvcc: required revision has been compacted", "final"],
];

test("errors of etcd, their kinds and our words", () => {
  for (const [code, message, kind, words = /./] of FAILURES) {
    for (
      const said of [{ code, message }, { error: { grpc_code: code, message } }]
    ) {
      const error = failureOf(400, JSON.stringify(said));
      assertEquals(error.kind, kind, message);
      assertMatch(error.message, words);
    }
  }
  // A watch's reason has it in other words.
  const desc =
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
  assertEquals(failureOf(200, JSON.stringify({ message: desc })).kind, "user");
  const named = failureOf(401, "CommonName of client sending a request\n");
  assertEquals(named.kind, "user");
  assertMatch(named.message, /without a common name/);
  assertEquals(failureOf(502, "<html>").kind, "elsewhere");
  assertEquals(failureOf(404, "<html>").kind, "final");
});

test("lines of a stream, however it is cut, and none that is too long", async () => {
  const bytes = new TextEncoder().encode(
    `one\n\n{"é":1}\n${"x".repeat(50)}\ntwo\nrest`,
  );
  for (let size = 1; size < bytes.length; size++) {
    const chunks = ReadableStream.from(
      Array.from(
        { length: Math.ceil(bytes.length / size) },
        (_, n) => bytes.subarray(n * size, (n + 1) * size),
      ),
    );
    const found = await Array.fromAsync(linesOf(chunks, 20));
    assertEquals(found, ["one", `{"é":1}`, null, "two"], `${size}`);
  }
});

test("the next server is asked where one does not answer, and nobody after a final no", async () => {
  const { engine, etcd } = open();
  etcd.down.add("http://a").add("http://b");
  await engine.put("clients/bob", "1", null);
  assertEquals(etcd.asked.map(({ server }) => server), SERVERS);
  assertEquals(await engine.get("clients/bob"), "1");
  assertEquals(etcd.asked.at(-1)!.server, "http://c");
  etcd.down.add("http://c");
  assertEquals(await whyNot(engine.get("clients/bob")), "connection refused");

  etcd.down.clear();
  const before = etcd.asked.length;
  etcd.refuse = () => ({
    code: 8,
    message: "etcdserver: mvcc: database space exceeded",
  });
  assertMatch(await whyNot(engine.put("clients/eve", "1", null)), /space/);
  assertEquals(etcd.asked.length, before + 1);
});

test("a user: one token for all calls, and another when it is gone", async () => {
  const { engine, etcd } = open({ user: USER });
  etcd.password = "right";
  const many = () =>
    Promise.all(
      Array.from(
        { length: 50 },
        (_, n) => engine.put(`clients/c${n}`, "1", null),
      ),
    );
  await many();
  const asking = () => etcd.of("auth/authenticate").length;
  assertEquals(asking(), 1);
  etcd.tokens.clear();
  await many();
  assertEquals(asking(), 2);
  assertEquals(etcd.tokens.size, 1);

  // An answer about the old token that comes after the new one.
  etcd.tokens.clear();
  let isLate = false;
  const late = etcd.post.bind(etcd);
  let release = () => {};
  etcd.post = async (url, body, options) => {
    const answer = await late(url, body, options);
    if (answer.status !== 200 && !isLate) {
      isLate = true;
      await new Promise<void>((resolve) => release = resolve);
    }
    return answer;
  };
  const slow = engine.get("clients/c1");
  await engine.get("clients/c2");
  release();
  assertEquals(await slow, "1");
  assertEquals(asking(), 3);

  // The user is gone, and back.
  etcd.tokens.clear();
  etcd.password = "other";
  assertMatch(
    await whyNot(engine.get("clients/c1")),
    /^it refuses our user: wrong/,
  );
  etcd.password = "right";
  assertEquals(await engine.get("clients/c1"), "1");
  await engine.close();
});

test("keys of others are not read: of another folder, prefix or name", async () => {
  const { engine, etcd } = open();
  const own = "knock/test/gateways/gw1";
  for (
    const key of [
      ...[
        "knock/test/clients/bob",
        "knock/test/clients0",
        "knock/test/clients0/x",
      ],
      ...[
        "knock/test/client/x",
        "knock/tesu/clients/x",
        "knock/test0/clients/x",
      ],
      ...[own, `${own}-b`, `${own}0`, `${own}/x`],
    ]
  ) etcd.set(key, btoa("1"));
  const [clients, mine] = [new Told(), new Told()];
  const watch = engine.watch([
    { name: "clients/", position: null, reader: clients },
    { name: "gateways/gw1", position: null, reader: mine },
  ]);
  await until("all is told", () => clients.ended + mine.ended === 2);
  assertEquals([...clients.keys.keys()], ["clients/bob"]);
  assertEquals([...mine.keys.keys()], ["gateways/gw1"]);
  await until("it watches", () => etcd.of("watch").length === 1);
  for (
    const key of [
      "knock/test/clients0",
      `${own}-b`,
      "knock/test/clients/eve",
      own,
    ]
  ) {
    etcd.set(key, btoa("2"));
  }
  await until("changes are told", () => mine.keys.get("gateways/gw1") === "2");
  assertEquals(clients.told, ["clients/bob", "clients/eve"]);
  assertEquals(mine.told, ["gateways/gw1", "gateways/gw1"]);
  await watch.stop();
});

test("a folder is read in pages of one revision, and in small ones where values are big", async () => {
  const { engine, etcd } = open();
  for (let n = 0; n < 2500; n++) {
    etcd.set(`knock/test/clients/c${`${n}`.padStart(4, "0")}`, btoa("1"));
  }
  const listed = new Map<string, string | null>();
  for await (const batch of engine.list("clients/")) {
    for (const { key, value } of batch) listed.set(key, value);
    etcd.set("knock/test/clients/c9999", btoa("new"));
  }
  assertEquals(listed.size, 2500);
  etcd.set("knock/test/clients/c0001", btoa("x".repeat(100_000)));
  etcd.limit = 50_000;
  listed.clear();
  for await (const batch of engine.list("clients/")) {
    for (const { key, value } of batch) listed.set(key, value);
  }
  assertEquals(listed.size, 2501);
  assertEquals(listed.get("clients/c0001"), "");
  for (const near of ["clients/c0000", "clients/c0002"]) {
    assertEquals(listed.get(near), "1", near);
  }
});

test("a watch goes on behind its position, and reads all where that is compacted", async () => {
  const { engine, etcd } = open();
  etcd.set("knock/test/clients/bob", btoa("1"));
  etcd.set("knock/test/clients/eve", btoa("1"));
  const told = new Told();
  const watch = engine.watch([
    { name: "clients/", position: `${etcd.revision - 1}`, reader: told },
  ]);
  await until("what came later is told", () => told.keys.size === 1);
  assertEquals(told.told, ["clients/eve"]);
  await watch.stop();

  etcd.set("knock/test/clients/eve", null);
  etcd.set("knock/test/clients/joe", btoa("1"));
  etcd.compact();
  const later = new Told();
  later.keys.set("clients/eve", "1");
  const second = engine.watch([
    { name: "clients/", position: `${etcd.revision - 2}`, reader: later },
  ]);
  await until("all is read", () => later.ended === 1);
  assertEquals([...later.keys.keys()].sort(), ["clients/bob", "clients/joe"]);
  assertEquals(later.losses, []);
  etcd.set("knock/test/clients/ann", btoa("1"));
  await until("it goes on", () => later.keys.has("clients/ann"));
  later.refused = 2;
  etcd.set("knock/test/clients/ann", null);
  await until("it is told again", () => !later.keys.has("clients/ann"));
  assertEquals([later.refused, later.ended], [0, 1]);
  // A message that is too long to be read: nobody knows what it said.
  etcd.say("x".repeat(33 * 1024 * 1024));
  await until("all is read again", () => later.ended === 2);
  await second.stop();
});

test("a watch that is refused says so, and gets another token", async () => {
  const { engine, etcd } = open({ user: USER });
  etcd.password = "right";
  await engine.put("clients/bob", "1", null);
  etcd.refuse = ({ path }) =>
    path === "watch"
      ? { code: 7, message: "etcdserver: permission denied" }
      : null;
  const told = new Told();
  const watch = engine.watch([{
    name: "clients/",
    position: null,
    reader: told,
  }]);
  await until("it is said", () => told.losses.length > 0);
  assertMatch(told.losses[0]!, /^it forbids our user/);
  etcd.refuse = () => null;
  await engine.put("clients/eve", "1", null);
  await until("it goes on", () => told.keys.has("clients/eve"));
  const before = etcd.of("auth/authenticate").length;
  etcd.tokens.clear();
  watch.again();
  await until(
    "it watches again",
    () => etcd.of("auth/authenticate").length > before,
  );
  etcd.set("knock/test/clients/joe", btoa("1"));
  await until("it goes on", () => told.keys.has("clients/joe"));
  await watch.stop();
});

test("other data is noticed by its id and by its revision, and is read again", async () => {
  for (const cluster of ["7", "8"]) {
    const { engine, etcd, opened } = open();
    for (const name of ["bob", "eve"]) {
      await engine.put(`clients/${name}`, "1", null);
    }
    const told = new Told();
    const watch = engine.watch([{
      name: "clients/",
      position: null,
      reader: told,
    }]);
    await until("all is told", () => told.ended === 1);
    assertEquals(opened.replaced, 0);
    etcd.restore(etcd.revision - 1, cluster);
    if (cluster === "8") etcd.set("knock/test/x", btoa("1"));
    await engine.get("clients/bob");
    assertEquals(opened.replaced, 1, cluster);
    await until("all is read again", () => told.ended === 2);
    assertEquals([...told.keys.keys()], ["clients/bob"]);
    await watch.stop();
    // And by one that starts later.
    const later = open({}, etcd, { id: "7", revision: etcd.revision + 1 });
    await later.engine.get("clients/bob");
    assertEquals(later.opened.replaced, 1);
    const same = open({}, etcd, { id: cluster, revision: etcd.revision });
    await same.engine.get("clients/bob");
    assertEquals(same.opened.replaced, 0);
  }
});

test("a key lives for as long as was asked, and those of a minute share a lease", async () => {
  const { engine, etcd, runtime } = open();
  /** Times at which leases were granted. */
  const at = new Map<string, number>();
  for (let tries = 0; tries < 40; tries++) {
    const liveMs = 1000 + 7919 * tries;
    await engine.put("grants/g", "1", liveMs);
    const { body } = etcd.of("kv/put").at(-1)!;
    const granted = etcd.of("lease/grant").find((_, index) =>
      [...etcd.leases.keys()][index] === body.lease
    )!;
    const sinceMs = at.get(body.lease) ?? runtime.monotonicMs();
    at.set(body.lease, sinceMs);
    const endMs = sinceMs + 1000 * Number(granted.body.TTL);
    assert(endMs >= runtime.monotonicMs() + liveMs, `${liveMs}`);
    await runtime.clock.advance(1777);
  }
  assert(etcd.leases.size < 20, `${etcd.leases.size} leases`);

  // Leases that etcd has lost.
  etcd.leases.clear();
  await engine.put("grants/g", "2", HOUR_MS);
  await engine.beat("gateways/gw1", "1", 10_000);
  etcd.leases.clear();
  await engine.put("grants/g", "3", HOUR_MS);
  await engine.beat("gateways/gw1", "2", 10_000);
  assertEquals(await engine.get("grants/g"), "3");
  assertEquals(await engine.get("gateways/gw1"), "2");
  const beats = etcd.of("lease/grant").filter(({ body }) => body.TTL === "10");
  assertEquals(beats.length, 2);
  await engine.beat("gateways/gw1", "3", 10_000);
  assertEquals(etcd.of("lease/keepalive").length, 2);
});

test("a lease is there before it is needed, and none of before a sleep is used", async () => {
  const { engine, etcd, runtime } = open();
  const put = () => engine.put("grants/g", "1", 300_000);
  const lease = () => etcd.of("kv/put").at(-1)!.body.lease;
  const refused = { code: 14, message: "etcdserver: no leader" };
  const noLease = ({ path }: { path: string }) =>
    path === "lease/grant" ? refused : null;
  await put();
  for (let beats = 0; beats < 200; beats++) {
    await runtime.clock.advance(3000);
    await engine.beat("gateways/gw1", "1", 10_000);
  }
  etcd.refuse = noLease;
  await put();
  // The next minute's was granted with the last one.
  await runtime.clock.advance(60_000);
  await put();
  etcd.refuse = () => null;
  await runtime.clock.advance(3000);
  await engine.beat("gateways/gw1", "1", 10_000);
  await put();
  const before = etcd.leases.size;
  const awake = lease();
  await put();
  assertEquals(lease(), awake);
  assertEquals(etcd.leases.size, before);
  // The machine slept: its monotonic clock stood still.
  runtime.nowMs = () => runtime.clock.nowMs() + 200_000;
  await put();
  assertEquals(etcd.leases.size, before + 1);
  assert(lease() !== awake);
});

test("health: a user whose role is too narrow, a full disk, and a history that nobody compacts", async () => {
  const { engine, etcd } = open({ user: USER });
  etcd.password = "right";
  const troubles = async () =>
    (await engine.health()).servers.map(({ trouble }) => trouble);
  assertEquals(await engine.health(), {
    servers: SERVERS.map((address) => ({
      ...{ address, version: "3.5.9", leads: true, trouble: null },
    })),
    warnings: [],
  });
  // The write that asks for the rights is never carried out.
  const { body } = etcd.of("kv/txn").at(-1)!;
  assertEquals(body.compare[0].result, "LESS");
  assertEquals(body.compare[0].create_revision, "0");
  etcd.refuse = ({ path, server }) =>
    path === "kv/txn" && server !== "http://a"
      ? { code: 7, message: "etcdserver: permission denied" }
      : null;
  const [none, ...forbidden] = await troubles();
  assertEquals(none, null);
  for (const trouble of forbidden) {
    assertMatch(trouble!, /^it forbids our user/);
  }
  etcd.refuse = ({ path }) =>
    path === "kv/txn"
      ? { code: 8, message: "etcdserver: mvcc: database space exceeded" }
      : null;
  assertEquals(await troubles(), [null, null, null]);
  etcd.refuse = () => null;

  etcd.revision = 300_000;
  const [warning] = (await engine.health()).warnings;
  assertMatch(warning!, /keeps all of its 300000 revisions.*auto-compaction/);
  etcd.compact();
  assertEquals((await engine.health()).warnings, []);
  const { engine: wrong } = open(
    { user: { ...USER, password: "wrong" } },
    etcd,
  );
  for (const { trouble } of (await wrong.health()).servers) {
    assertMatch(trouble!, /^it refuses our user/);
  }
  // No user at all, and a cluster that asks for one.
  const { engine: nobody } = open({}, etcd);
  etcd.refuse = ({ path }) =>
    path === "kv/txn"
      ? { code: 3, message: "etcdserver: user name is empty" }
      : null;
  etcd.password = null;
  const [look] = (await nobody.health()).servers;
  assertMatch(look!.trouble!, /^it refuses us without a user/);
});
