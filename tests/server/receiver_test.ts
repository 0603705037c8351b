/** Junk that bears a client's own address, on a fake machine: it keeps nobody out. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import {
  MAC_AT,
  macOf,
  tagOf,
  windowOf,
} from "../../lib/dialects/knock1/tag.ts";
import { sealOpenme } from "../../lib/dialects/openme/open.ts";
import type { Stream } from "../../lib/runtime/runtime.ts";
import { MAX_WAITING_PACKETS } from "../../lib/server/packet/limits.ts";
import { Copies } from "../../lib/server/packet/receiver.ts";
import { Streams } from "../../lib/server/packet/streams.ts";
import { Counters } from "../../lib/server/report/counters.ts";
import { RunningServer } from "../../lib/server/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";
import { bytesOf } from "../fakes/packets.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const SOURCE = { host: "203.0.113.9", port: 40_000 };
const PORT = 62_201;
const FLOOD = 1000;
/** Time that opening a packet takes on this machine. */
const STEP_MS = 0.1;

const KEYS = { key: bytesOf("key"), psk: bytesOf("psk") };
const FWKNOP = {
  key: bytesOf("fwknop key"),
  mode: "cbc",
  hmac: { type: "sha256", key: bytesOf("fwknop hmac") },
} as const;
const SEED = bytesOf("openme seed");
const OPENME_SERVER = bytesOf("openme server");

const CONFIG = makeConfig([
  makeClient({ knock: { key: publicKeyOf(KEYS.key), psk: KEYS.psk } }),
  makeClient({ name: "phone", fwknop: FWKNOP }),
  makeClient({ name: "tablet", openme: { key: verifyingKeyOf(SEED) } }),
], { openme: { key: OPENME_SERVER, file: "openme.key" } });
const SERVER = publicKeyOf(CONFIG.key);

let made = 0;
const fresh = () => bytesOf(`fresh ${made++}`);

class SlowRuntime extends FakeRuntime {
  #spentMs = 0;
  /** Count of the clock's readings: for every costly step, among others. */
  looks = 0;
  override monotonicMs(): number {
    this.looks++;
    return super.monotonicMs() + (this.#spentMs += STEP_MS);
  }

  /** Other work has a turn, whatever the clock that is stepped by hand says. */
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return ms > 0
      ? super.sleep(ms, signal)
      : new Promise((resolve) => setImmediate(resolve));
  }
}

/** A packet of alice's; one that asks for what she may not have is refused by policy. */
function knock(nowMs: number, port = 22): Uint8Array {
  return sealKnock(
    { ...KEYS, server: SERVER, ephemeral: fresh() },
    {
      action: "open",
      ports: [{ protocol: "tcp", first: port, last: port }],
      command: null,
      seconds: 600,
      address: null,
      code: null,
      wantsReply: false,
    },
    nowMs,
  ).packet;
}

function fwknop(nowMs: number, keys: typeof FWKNOP = FWKNOP): Uint8Array {
  return sealFwknop(
    keys,
    {
      action: "open",
      ports: [{ protocol: "tcp", first: 22, last: 22 }],
      command: null,
      seconds: 0,
      address: SOURCE.host,
      forward: null,
      user: "phone",
      checksum: "sha256",
    },
    fwknopRandom(fresh().subarray(0, 16)),
    nowMs,
  );
}

function openme(nowMs: number, seed = SEED): Uint8Array {
  return sealOpenme(
    {
      server: publicKeyOf(OPENME_SERVER),
      key: seed,
      ephemeral: fresh(),
      nonce: fresh().subarray(0, 12),
      random: fresh().subarray(0, 16),
    },
    null,
    BigInt(nowMs) * 1_000_000n,
  );
}

function tagged(nowMs: number, withMac: boolean): Uint8Array {
  const packet = new Uint8Array(216);
  for (let at = 0; at < 192; at += 32) packet.set(fresh(), at);
  packet.set(tagOf(SERVER, windowOf(nowMs)));
  if (withMac) packet.set(macOf(SERVER)(packet.subarray(0, MAC_AT)), MAC_AT);
  return packet;
}

async function makeServer() {
  const runtime = new SlowRuntime({ steps: "by hand" });
  const done = () => Promise.resolve();
  const opened = new Set<string>();
  const server = await RunningServer.start({
    runtime,
    store: await openStore(runtime, CONFIG.state),
    log: () => {},
    createFirewall: () =>
      Promise.resolve({
        name: "fake",
        endsGrants: true,
        apply: done,
        change: (
          _: unknown,
          live: readonly { address: string }[],
        ) => {
          for (const { address } of live) opened.add(address);
          return done();
        },
        intact: () => Promise.resolve(true),
        stop: done,
        remove: done,
      }),
  }, CONFIG);
  const send = (packet: Uint8Array) =>
    runtime.network.deliver(PORT, packet, SOURCE);
  const counters = async () => {
    await server.stop();
    const store = await openStore(runtime, CONFIG.state);
    return store.fact("counters") as Record<string, number>;
  };
  return { runtime, opened, send, counters };
}

type Make = (nowMs: number) => Uint8Array;

const clients: readonly (readonly [name: string, make: Make])[] = [
  ["knock/1", knock],
  ["fwknop", fwknop],
  ["openme", openme],
];

const junk: readonly (readonly [
  name: string,
  flood: (nowMs: number) => () => Uint8Array,
  why: string,
])[] = [
  ["the right tag", (now) => () => tagged(now, false), "mac"],
  ["the right mac", (now) => () => tagged(now, true), "noise"],
  ["another's HMAC", (now) => () =>
    fwknop(now, {
      ...FWKNOP,
      hmac: { type: "sha256", key: fresh() },
    }), "mac"],
  [
    "another's signature",
    (now) => () => openme(now, fresh()),
    "unknown client",
  ],
  ...clients.map(([name, make]) =>
    [`a copy of ${name}`, (now: number) => {
      const copy = make(now);
      return () => copy;
    }, "replay"] as const
  ),
  ["a copy of what was refused by policy", (now) => {
    const copy = knock(now, 23);
    return () => copy;
  }, "replay"],
];

for (const [words, flood, why] of junk) {
  test(`${FLOOD} packets with ${words} from a client's address keep none of its packets out`, async () => {
    const { runtime, opened, send, counters } = await makeServer();
    const nowMs = runtime.nowMs();
    const next = flood(nowMs);
    for (let i = 0; i < FLOOD; i++) send(next());
    for (const [, make] of clients) send(make(nowMs));
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert(opened.has(SOURCE.host));
    const counts = await counters();
    assertEquals(counts["refused: rate"], undefined);
    const first = why === "replay" ? 1 : 0;
    assertEquals(counts[`refused: ${why}`], FLOOD - first);
    const own = words.startsWith("a copy of") && !words.includes("policy");
    assertEquals(counts["open"], clients.length + (own ? 1 : 0));
  });
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

test("a flood that cannot be judged in time is refused in its own dialect alone", async () => {
  const { runtime, opened, send, counters } = await makeServer();
  const nowMs = runtime.nowMs();
  const keys = { ...FWKNOP, hmac: { type: "sha256", key: fresh() } } as const;
  const forged = Array.from({ length: 64 }, () => fwknop(nowMs, keys));
  const more = 500;
  for (let i = 0; i < MAX_WAITING_PACKETS + more; i++) send(forged[i % 64]!);
  send(fwknop(nowMs));
  const before = runtime.looks;
  send(knock(nowMs));
  send(openme(nowMs));
  while (!opened.has(SOURCE.host)) await new Promise(setImmediate);
  assert(runtime.looks - before < 100, "knock/1 does not wait for fwknop");
  const counts = await counters();
  assertEquals(counts["refused: rate"], more + 1);
  assertEquals(counts["refused: mac"], MAX_WAITING_PACKETS);
  assertEquals(counts["open"], 2);
});

test("1,000 packets that open are all taken, however long each takes", async () => {
  const { runtime, send, counters } = await makeServer();
  for (let i = 0; i < 1000; i++) send(knock(runtime.nowMs()));
  await turn();
  const counts = await counters();
  assertEquals(counts["refused: rate"], undefined);
  assertEquals(counts["received"], 1000);
});

for (const [name, make] of clients) {
  test(`${name}: copies cost no second costly step, in one batch or later`, async () => {
    const { runtime, send, counters } = await makeServer();
    const nowMs = runtime.nowMs();
    const packet = make(nowMs);
    for (let i = 0; i < 3; i++) send(packet);
    await turn();
    const { looks } = runtime;
    for (let i = 0; i < 100; i++) send(packet);
    // One bit is another packet.
    const other = packet.slice();
    other[20]! ^= 1;
    await turn();
    assertEquals(runtime.looks, looks);
    send(other);
    const counts = await counters();
    assertEquals(counts["open"], 1);
    assertEquals(counts["refused: replay"], 102);
  });
}

test("Copies remembers the last 8,192 packets byte for byte, and 2 MiB of them", () => {
  const packet = (index: number, size = 12) => {
    const bytes = new Uint8Array(size);
    new DataView(bytes.buffer).setUint32(size - 4, index);
    return bytes;
  };
  const copies = new Copies();
  for (let i = 0; i < 8192; i++) copies.add(packet(i));
  copies.add(packet(8191));
  assert(copies.has(packet(0)), "the same one again takes no room");
  copies.add(packet(8192));
  assert(!copies.has(packet(0)));
  assert(copies.has(packet(1)) && copies.has(packet(8192)));
  const changed = packet(1);
  changed[0] = 1;
  assert(!copies.has(changed), "the end alone is no copy");
  assert(!copies.has(packet(1, 13)));
  copies.delete(packet(1));
  assert(!copies.has(packet(1)));
  const LONG = 1024;
  for (let i = 0; i < 2048; i++) copies.add(packet(i, LONG));
  assert(copies.has(packet(0, LONG)) && !copies.has(packet(8192)));
  copies.add(packet(2048, LONG));
  assert(!copies.has(packet(0, LONG)) && copies.has(packet(1, LONG)));
});

/** Streams with nothing in them, on a fake machine. */
async function makeStreams() {
  const fake = new FakeRuntime();
  const closed: string[] = [];
  let accept = (_: Stream) => {};
  fake.listenStream = (at, handler) => {
    accept = handler;
    return Promise.resolve({ at, close: () => Promise.resolve() });
  };
  const streams = new Streams(fake, new Counters(), () => {});
  await streams.listen({ host: "::", port: 7, transport: "tcp" });
  const connect = (host: string) => {
    const { promise, resolve } = Promise.withResolvers<null>();
    accept({
      peer: { host, port: 1 },
      read: () => promise,
      write: () => Promise.resolve(),
      finish: () => Promise.resolve(),
      close: () => {
        if (!closed.includes(host)) closed.push(host);
        resolve(null);
      },
    });
  };
  return { streams, closed, connect };
}

for (
  const [words, alone, crowd] of [
    ["an address", "198.51.100.1", () => "192.0.2.1"],
    [
      "a /64",
      "2001:db8:1::1",
      (at: number) => `2001:db8:2::${at.toString(16)}`,
    ],
  ] as const
) {
  test(`Streams: the oldest connection stays, while ${words} holds more than its source`, async () => {
    const { streams, closed, connect } = await makeStreams();
    connect(alone);
    for (let i = 1; i <= 255; i++) connect(crowd(i));
    connect("203.0.113.7");
    assertEquals(closed, [crowd(1)]);
    streams.close();
  });
}

test("Streams: the newest connection finds room, whoever holds the others", async () => {
  const SOURCES = 32;
  const closed = new Set<number>();
  const got: number[] = [];
  const fake = new FakeRuntime();
  let accept = (_: Stream) => {};
  fake.listenStream = (at, handler) => {
    accept = handler;
    return Promise.resolve({ at, close: () => Promise.resolve() });
  };
  const counters = new Counters();
  const streams = new Streams(fake, counters, ([bytes]) => {
    if (bytes!.length > 0) got.push(bytes!.length);
  });
  await streams.listen({ host: "::", port: 7, transport: "tcp" });
  let count = 0;
  const connect = (host: string, bytes?: Uint8Array) => {
    const id = count++;
    const { promise, resolve } = Promise.withResolvers<null>();
    const chunks = bytes ? [bytes, null] : [];
    accept({
      peer: { host, port: 1 },
      read: () => Promise.resolve(chunks.length ? chunks.shift()! : promise),
      write: () => Promise.resolve(),
      finish: () => Promise.resolve(),
      close: () => {
        closed.add(id);
        resolve(null);
      },
    });
  };
  for (let i = 0; i < 256; i++) connect(`192.0.2.${i % SOURCES}`);
  assertEquals(closed.size, 0);
  connect("198.51.100.1", new Uint8Array(216));
  assertEquals([...closed], [0], "the oldest of those who hold most");
  // A neighbour of the client's holds connections, too.
  for (let i = 0; i < 20; i++) connect("198.51.100.1");
  connect("198.51.100.1", new Uint8Array(217));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(got, [216, 217]);
  assertEquals(counters.all["refused: connections"], 22);
  streams.close();
  assertEquals(closed.size, count);
});
