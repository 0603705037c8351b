/** Clients of a fleet in every dialect: found in their file, by what a packet names or by a search. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import type { Client } from "../../lib/config/config.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import type { DialectName, Opened } from "../../lib/dialects/dialect.ts";
import { indexStart } from "../../lib/dialects/fwknop/keys.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";
import { sealOpenme } from "../../lib/dialects/openme/open.ts";
import { sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import type { Datagrams } from "../../lib/runtime/runtime.ts";
import { FleetBook } from "../../lib/server/fleet/clients.ts";
import { RecentClients } from "../../lib/server/fleet/recent.ts";
import { FleetValues } from "../../lib/server/fleet/values.ts";
import { MAX_SEARCHES } from "../../lib/server/packet/limits.ts";
import { Gpg } from "../../lib/server/packet/gpg.ts";
import { Receiver } from "../../lib/server/packet/receiver.ts";
import type { Fleet } from "../../lib/server/state/fleet.ts";
import { openFleetDatabase } from "../../lib/server/state/fleet_file.ts";
import {
  activate,
  loadDialects,
  makeServer,
} from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url, formatUuid } from "../../lib/values/bytes.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";
import { bytesOf, sceneAt } from "../fakes/packets.ts";
import {
  CLIENT_PRIVATE,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE,
  RSA_PUBLIC,
} from "../fakes/rsa.ts";

const SOURCE = { host: "203.0.113.9", port: 40_000 };
const SSH = { protocol: "tcp", first: 22, last: 22 } as const;
const OPENME_SERVER = bytesOf("openme server");
const OWN = {
  openme: { key: OPENME_SERVER, file: "openme.key" },
  openspa: { key: RSA_PRIVATE, file: "openspa.pem", adkSecret: null },
};
const PSK = bytesOf("psk");
const SERVER = publicKeyOf(makeConfig([]).key);

let made = 0;
const fresh = () => bytesOf(`fresh ${made++}`);

/** A dialect as these tests use it: an entry with the keys of a word, and a packet of them. */
interface Spoken {
  readonly keys: (word: string) => object;
  readonly files?: Readonly<Record<string, string>>;
  readonly seal: (word: string, nowMs: number) => Uint8Array;
}

const SPOKEN: Readonly<Record<DialectName, Spoken>> = {
  knock: {
    keys: (word) => ({
      key: formatBase64url(publicKeyOf(bytesOf(word))),
      psk: formatBase64url(PSK),
    }),
    seal: (word, nowMs) =>
      sealKnock(
        { server: SERVER, key: bytesOf(word), psk: PSK, ephemeral: fresh() },
        {
          ...{ action: "open", ports: [SSH], command: null, seconds: 0 },
          ...{ address: null, code: null, wantsReply: false },
        },
        nowMs,
      ).packet,
  },
  fwknop: {
    keys: (word) => ({
      key_base64: bytesOf("passphrase").toBase64(),
      hmac_key_base64: bytesOf(word).toBase64(),
    }),
    seal: (word, nowMs) => fwknop(word, nowMs, "sha256"),
  },
  openme: {
    keys: (word) => ({ key: verifyingKeyOf(bytesOf(word)).toBase64() }),
    seal: (word, nowMs) =>
      sealOpenme(
        {
          server: publicKeyOf(OPENME_SERVER),
          key: bytesOf(word),
          ephemeral: fresh(),
          nonce: fresh().subarray(0, 12),
          random: fresh().subarray(0, 16),
        },
        null,
        BigInt(nowMs) * 1_000_000n,
      ),
  },
  openspa: {
    keys: (word) => ({
      uuid: formatUuid(bytesOf(word).subarray(0, 16)),
      key: "client.pem",
    }),
    files: { "client.pem": CLIENT_PUBLIC_PEM },
    seal: (word, nowMs) =>
      sealOpenspa(
        {
          uuid: bytesOf(word).subarray(0, 16),
          key: CLIENT_PRIVATE,
          server: RSA_PUBLIC,
          adk_secret: null,
          random: fresh(),
        },
        { ports: SSH, address: SOURCE.host, target: "192.0.2.1" },
        nowMs,
      ).packet,
  },
};

function fwknop(
  word: string,
  nowMs: number,
  type: "sha256" | "sha3-256" | "md5",
): Uint8Array {
  return sealFwknop(
    {
      ...{ key: bytesOf("passphrase"), mode: "cbc" },
      hmac: { type, key: bytesOf(word) },
    },
    {
      ...{ action: "open", ports: [SSH], command: null, seconds: 0 },
      ...{ address: SOURCE.host, forward: null, user: "phone" },
      checksum: "sha256",
    },
    fwknopRandom(fresh().subarray(0, 16)),
    nowMs,
  );
}

async function makeBook(clients: readonly Client[] = []) {
  const runtime = new FakeRuntime();
  const config = makeConfig(clients, OWN);
  const said: string[] = [];
  let reads = 0;
  const book = new FleetBook(
    await openFleetDatabase(runtime, config.state),
    () => (reads++, config),
    (what, why) => said.push(`${what}: ${why}`),
  );
  const put = (
    name: string,
    dialect: DialectName,
    word: string,
    over: object = {},
  ) =>
    book.put(name, {
      entry: {
        [dialect]: SPOKEN[dialect].keys(word),
        open: ["tcp/22"],
        ...over,
      },
      files: SPOKEN[dialect].files ?? {},
    });
  const nowMs = runtime.nowMs();
  /** Opens a packet in its dialect, and tells by how many parts of a search. */
  const open = async (dialect: DialectName, packet: Uint8Array) => {
    book.changed();
    const fleet = { clients: book } as unknown as Fleet;
    const dialects = await loadDialects(config, new Gpg(runtime), fleet);
    const one = dialects.find(({ name }) => name === dialect);
    if (!one) return { who: "no dialect", parts: 0 };
    assert(one.recognises(packet));
    let opened: Opened = one.open(packet, {
      ...sceneAt(nowMs),
      source: SOURCE,
    });
    let parts = 0;
    for (; !opened.ok && opened.more; parts++) opened = opened.more();
    return { who: opened.ok ? opened.request.client : opened.why, parts };
  };
  return {
    ...{ book, config, runtime, said, put, open, nowMs },
    reads: () => reads,
  };
}

const NOBODY = {
  knock: "unknown client",
  fwknop: "mac",
  openme: "unknown client",
  openspa: "unknown client",
};

for (const [dialect, { seal }] of Object.entries(SPOKEN)) {
  const name = dialect as DialectName;

  test(`${dialect}: a client of the fleet is found, by new keys after a change, and not after its end`, async () => {
    const { book, put, open, nowMs, said } = await makeBook();
    const who = async (word: string) =>
      (await open(name, seal(word, nowMs))).who;
    assertEquals(await who("one"), "no dialect");
    put("alice", name, "one");
    put("bob", name, "two");
    assertEquals(await who("one"), "alice");
    assertEquals(await who("two"), "bob");
    assertEquals(await who("three"), NOBODY[name]);
    assertEquals(book.listed, [], "none is in memory");
    put("alice", name, "three");
    assertEquals(await who("one"), NOBODY[name], "the old keys");
    assertEquals(await who("three"), "alice");
    book.drop("alice");
    assertEquals(await who("three"), NOBODY[name]);
    assertEquals(await who("two"), "bob");
    assertEquals(said, []);
  });

  test(`${dialect}: of two clients with the same keys the first by name is used, and the other told of`, async () => {
    const { book, put, open, nowMs, said } = await makeBook();
    put("zoe", name, "same");
    put("bob", name, "same");
    put("ann", name, "same", { open: ["nowhere"] });
    const who = async () => (await open(name, seal("same", nowMs))).who;
    assertEquals(await who(), "bob");
    assert(
      said.includes(
        `client zoe: has the ${dialect} keys of bob, and is not used`,
      ),
      said.join("\n"),
    );
    book.drop("bob");
    assertEquals(await who(), "zoe");
  });

  test(`${dialect}: a client of the configuration is as that says, whatever the fleet has of its name`, async () => {
    const { put, open, nowMs } = await makeBook([makeClient()]);
    put("alice", name, "one");
    assertEquals((await open(name, seal("one", nowMs))).who, NOBODY[name]);
  });
}

test("keys that cannot be read are in no index, and keep nobody else out", async () => {
  const { book, put, open, nowMs } = await makeBook();
  for (const [dialect, { seal }] of Object.entries(SPOKEN)) {
    const name = dialect as DialectName;
    const entry = { [name]: { key: 7, hmac_key_base64: "", uuid: "x" } };
    book.put(`broken ${name}`, { entry, files: {} });
    book.put(`none ${name}`, { entry: { [name]: [] }, files: {} });
    assertEquals((await open(name, seal("one", nowMs))).who, "no dialect");
  }
  book.put("no entry", { entry: "text", files: {} });
  assertEquals(book.listed, []);
  put("alice", "openme", "one");
  const { seal } = SPOKEN.openme;
  assertEquals((await open("openme", seal("one", nowMs))).who, "alice");
});

test("a search tries every client, a part at a time; the next packet's is over at once", async () => {
  for (const [name, each] of [["openme", 64], ["fwknop", 512]] as const) {
    const { put, open, nowMs } = await makeBook();
    const { seal } = SPOKEN[name];
    const count = 2 * each + 1;
    for (let at = 0; at < count; at++) put(`client${at}`, name, `word ${at}`);
    const found = new Set<string>();
    for (const at of [0, 7, each, 2 * each]) {
      const { who, parts } = await open(name, seal(`word ${at}`, nowMs));
      assert(parts <= 3, `${parts}`);
      found.add(who);
      const again = await open(name, seal(`word ${at}`, nowMs));
      assertEquals(again, { who, parts: 0 }, "of late");
    }
    assertEquals([...found], [0, 7, each, 2 * each].map((at) => `client${at}`));
    const stranger = await open(name, seal("nobody", nowMs));
    assertEquals(stranger.who, NOBODY[name]);
    // One more for each type of HMAC that the length allows.
    assert([3, 4, 5].includes(stranger.parts), `${stranger.parts}`);
  }
});

test("fwknop: HMACs of one length and several types are all tried", async () => {
  const { book, put, open, nowMs } = await makeBook();
  for (const type of ["sha256", "sha3-256", "md5"] as const) {
    const keys = { ...SPOKEN.fwknop.keys(type), hmac: type };
    put(type, "fwknop", type, { fwknop: keys });
  }
  // Keys of one type come alone: those of another may have another size.
  const start = indexStart("md5");
  const only = book.after("fwknop", start, start, 10);
  assertEquals(only.length, 1 + 64);
  for (const type of ["sha256", "sha3-256", "md5"] as const) {
    const { who } = await open("fwknop", fwknop(type, nowMs, type));
    assertEquals(who, type);
  }
});

test("clients that no index finds are in memory, and read anew only when they change", async () => {
  const { book, put, reads, nowMs, open } = await makeBook();
  const bare = (word: string) => ({
    fwknop: { key_base64: bytesOf(word).toBase64(), hmac: "none" },
  });
  for (let at = 0; at < 20; at++) put(`bare${at}`, "fwknop", "", bare(`${at}`));
  assert(book.changed());
  assertEquals([book.listed.length, reads()], [20, 20]);
  put("alice", "openme", "one");
  assert(book.changed(), "a new dialect");
  put("bob", "openme", "two");
  assert(!book.changed(), "nothing that a dialect keeps");
  assertEquals(reads(), 20);
  put("bare7", "fwknop", "", bare("new"));
  assert(book.changed());
  assertEquals([book.listed.length, reads()], [20, 21]);
  book.drop("bare7");
  assert(book.changed());
  assertEquals([book.listed.length, reads()], [19, 21]);
  put("bare8", "fwknop", "eight");
  assert(book.changed(), "it has an HMAC now");
  assertEquals(book.listed.length, 18);
  const { who } = await open("fwknop", SPOKEN.fwknop.seal("eight", nowMs));
  assertEquals(who, "bare8");
});

test("a batch is kept as a whole, or not at all", async () => {
  const { book, put, open, nowMs } = await makeBook();
  put("alice", "openme", "one");
  try {
    book.transaction(() => {
      book.drop("alice");
      put("bob", "openme", "two");
      throw new Error("in between");
    });
  } catch { /* as it was meant to */ }
  const { seal } = SPOKEN.openme;
  assertEquals((await open("openme", seal("one", nowMs))).who, "alice");
  assertEquals(
    (await open("openme", seal("two", nowMs))).who,
    "unknown client",
  );
  assertEquals([book.size, book.has("alice"), book.has("bob")], [
    1,
    true,
    false,
  ]);
});

test("of a batch that a full disk has undone, that is the reason told", async () => {
  const { runtime, config, book } = await makeBook();
  const file = await openFleetDatabase(runtime, config.state);
  const full = () =>
    book.transaction(() => {
      // As SQLite does by itself.
      file.exec("rollback");
      throw new SystemError("ENOSPC", "the disk is full");
    });
  assertThrows(full, SystemError, "the disk is full");
});

test("clients that are not among all are gone", async () => {
  const { book, put } = await makeBook();
  put("alice", "openme", "one");
  put("bob", "openme", "two");
  book.begin();
  put("bob", "openme", "two");
  book.sweep();
  assertEquals([book.size, book.has("alice"), book.has("bob")], [
    1,
    false,
    true,
  ]);
});

test("what is read from a file that fails opens nothing, and is told", async () => {
  const { runtime, put, config, nowMs } = await makeBook();
  put("alice", "openme", "one");
  const file = await openFleetDatabase(runtime, config.state);
  let fails = false;
  const said: string[] = [];
  const book = new FleetBook(
    {
      ...file,
      prepare(sql) {
        const statement = file.prepare(sql);
        const guarded = <T>(act: () => T) => {
          if (fails) throw new SystemError("EIO", "the disk is gone");
          return act();
        };
        return {
          run: (...values) => statement.run(...values),
          get: (...values) => guarded(() => statement.get(...values)),
          all: (...values) => guarded(() => statement.all(...values)),
        };
      },
    },
    () => config,
    (what, why) => said.push(`${what}: ${why}`),
  );
  const fleet = { clients: book } as unknown as Fleet;
  const [dialect] = await loadDialects(config, new Gpg(runtime), fleet);
  fails = true;
  const packet = SPOKEN.openme.seal("one", nowMs);
  let opened = dialect!.open(packet, sceneAt(nowMs));
  while (!opened.ok && opened.more) opened = opened.more();
  assertEquals(opened.ok, false);
  assertEquals(book.find("openme", bytesOf("any")), null);
  assertEquals(said[0], "clients: the disk is gone");
});

test("so many are searched that it takes long: it is told", async () => {
  const { book, put, said } = await makeBook();
  book.transaction(() => {
    for (let at = 0; at < 10_000; at++) {
      const key = bytesOf(`${at}`).toBase64();
      put(`client${at}`, "openme", "", { openme: { key } });
    }
  });
  book.changed();
  assertEquals(said, []);
  put("alice", "openme", "one");
  book.changed();
  assertEquals(said.length, 1);
  assert(said[0]!.includes("more than 10000 of the fleet speak openme"));
});

test("RecentClients remembers a bounded number, the latest, each dialect's own", () => {
  const recent = new RecentClients();
  const index = (at: number) => bytesOf(`${at}`);
  const from = (at: number) => ({
    host: `10.${at >> 8}.${at & 255}.1`,
    port: 1,
  });
  for (let at = 0; at < 5000; at++) recent.note("openme", index(at), from(at));
  // Of the first networks nothing is left but what came last from anywhere.
  const anywhere = recent.of("openme", undefined);
  assertEquals(
    anywhere,
    Array.from({ length: 16 }, (_, at) => index(4999 - at)),
  );
  assertEquals(recent.of("openme", from(0)), anywhere);
  assertEquals(recent.of("openme", from(4000))[0], index(4000));
  assertEquals(recent.of("fwknop", from(4000)), []);
  for (let at = 0; at < 20; at++) recent.note("openme", index(at), from(9));
  recent.note("openme", index(3), from(9));
  const near = recent.of("openme", { host: "10.0.9.77", port: 2 });
  assertEquals(near.slice(0, 3), [index(3), index(19), index(18)]);
  assertEquals(near.length, 8 + 16 - 8);
  // A source that is no address is none that is near.
  assertEquals(
    recent.of("openme", { host: "fe80::1%eth0", port: 1 }).length,
    16,
  );
  recent.note("openme", index(1), { host: "fe80::1%eth0", port: 1 });
});

/** Several times what the tests send. */
const MOST_OPENED = 10_000;

/** A server whose clients are in the book, and what it opened. */
async function serve(book: Awaited<ReturnType<typeof makeBook>>) {
  const { config, runtime } = book;
  book.book.changed();
  const store = await openStore(runtime, config.state);
  store.replay.begin(runtime.nowMs(), false);
  const server = await makeServer(
    { runtime, store, log: () => {} },
    config,
    undefined as never,
  );
  server.fleet = {
    clients: book.book,
    claim: () => Promise.resolve("unknown"),
    trouble: "it is a test",
  } as unknown as Fleet;
  const loaded = await loadDialects(config, server.gpg, server.fleet);
  let opened = 0;
  // A packet that is begun anew for ever would leave no turn to a time limit.
  const dialects = loaded.map((dialect) => ({
    ...dialect,
    open: (...args: Parameters<typeof dialect.open>) => {
      if (++opened > MOST_OPENED) throw new Error("packets are begun anew");
      return dialect.open(...args);
    },
  }));
  server.active = activate(config, undefined as never, dialects);
  const receiver = new Receiver(server);
  const send = (packet: Uint8Array) =>
    receiver.receive([packet], SOURCE, null as Datagrams | null);
  return { receiver, send, counts: () => server.counters.all };
}

test("searches are bounded, and a client of late passes them", async () => {
  const book = await makeBook();
  const { put, open, nowMs } = book;
  for (let at = 0; at < 200; at++) put(`client${at}`, "openme", `word ${at}`);
  const { seal } = SPOKEN.openme;
  // What is opened here is of late there.
  await open("openme", seal("word 150", nowMs));
  const { receiver, send, counts } = await serve(book);
  const flood = MAX_SEARCHES + 40;
  for (let at = 0; at < flood; at++) send(seal(`stranger ${at}`, nowMs));
  const packet = seal("word 150", nowMs);
  send(packet);
  await receiver.settled();
  await new Promise((resolve) => setTimeout(resolve));
  const all = counts();
  assertEquals(all["received"], flood + 1);
  assertEquals(all["fleet: unknown"], 1, "it was opened, and claimed");
  const rest = (all["refused: rate"] ?? 0) +
    (all["refused: unknown client"] ?? 0);
  assertEquals(rest, flood);
  assert(all["refused: rate"]! <= 40, `${all["refused: rate"]}`);
  assert(all["refused: unknown client"]! >= MAX_SEARCHES);
  // A copy of what a search opened costs a look-up.
  send(packet);
  assertEquals(counts()["refused: replay"], 1);
});

test("a server that stops gives searches up, and opens what needs none", async () => {
  const book = await makeBook();
  const { put, open, nowMs } = book;
  for (let at = 0; at < 200; at++) put(`client${at}`, "openme", `word ${at}`);
  const { seal } = SPOKEN.openme;
  await open("openme", seal("word 150", nowMs));
  const { receiver, send, counts } = await serve(book);
  for (let at = 0; at < 10; at++) send(seal(`stranger ${at}`, nowMs));
  send(seal("word 150", nowMs));
  await receiver.stop();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(counts()["refused: rate"], 10);
  assertEquals(counts()["fleet: unknown"], 1);
});

test("complaints: the same one once an hour, and a bounded number of each kind, for ever", async () => {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const lines: string[] = [];
  const server = await makeServer(
    {
      runtime,
      store: await openStore(runtime, "/var/lib/knock"),
      log: (_, text) => void lines.push(text),
    },
    makeConfig([]),
    undefined as never,
  );
  const values = new FleetValues(server, {
    prefix: "knock",
    secret: new Uint8Array(32),
  } as never);
  for (let at = 0; at < 5000; at++) values.open(`clients/${at}`, "junk");
  assertEquals(lines.length, 61);
  assertEquals(
    lines.at(-1),
    "fleet: clients: more complaints than are told each time",
  );
  values.complain("name gw1", "another gateway has this name, too");
  assertEquals(lines.length, 62, "of another kind");
  values.complain("name gw1", "another gateway has this name, too");
  assertEquals(lines.length, 62);
  await runtime.clock.advance(600_000);
  values.open("clients/5001", "junk");
  values.open("clients/5001", "junk");
  values.complain("name gw1", "another gateway has this name, too");
  assertEquals(lines.length, 63);
  await runtime.clock.advance(3_600_000);
  values.complain("name gw1", "another gateway has this name, too");
  assertEquals(lines.length, 64);
  values.open(`clients/${"x".repeat(1_000_000)}`, "junk");
  assert(lines.at(-1)!.length < 400, "and a short one");
});
