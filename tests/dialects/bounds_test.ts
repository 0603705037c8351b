/** The server's bounds, each at its last good moment and its first bad one. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { oneTimeCode, STEP_MS } from "../../lib/dialects/crypto/codes.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import type { Action } from "../../lib/dialects/dialect.ts";
import type { Datagrams } from "../../lib/runtime/runtime.ts";
import type { Firewall } from "../../lib/firewall/firewall.ts";
import { MAX_WAITING, Queue } from "../../lib/server/grants/queue.ts";
import { CodeGuard, delayMs, RateCap } from "../../lib/server/packet/limits.ts";
import { isTimely, judge } from "../../lib/server/packet/judge.ts";
import { Receiver } from "../../lib/server/packet/receiver.ts";
import {
  type LedgerEntry,
  mergeEntries,
} from "../../lib/server/state/ledger.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { parseHours } from "../../lib/values/time.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, makeRequest } from "../fakes/fixtures.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const SOURCE = "203.0.113.9";
/** A firewall that nothing asks here. */
const FIREWALL = {} as Firewall;
const ACTIONS: readonly Action[] = ["open", "close", "ping", "run"];
const SSH = { protocol: "tcp", first: 22, last: 22 } as const;

for (
  const [aheadMs, want] of [
    [0, true],
    [60_000, true],
    [-60_000, true],
    [60_001, false],
    [-60_001, false],
  ] as const
) {
  test(`a stamp ${aheadMs} ms ahead is ${want ? "timely" : "out of time"}`, () => {
    const request = makeRequest({ timestampMs: START_MS + aheadMs });
    assertEquals(isTimely(request, START_MS, 60_000), want);
  });
}

/** Whatever is asked for, a client that may do nothing now may not do it. */
for (const action of ACTIONS) {
  const why = (over: Parameters<typeof makeClient>[0]) => {
    const request = makeRequest({ action, command: "x" });
    const verdict = judge(request, makeClient(over), SOURCE, START_MS);
    return verdict.ok ? "ok" : verdict.why;
  };
  test(`${action}: a client ends at its expiry, and not before`, () => {
    assertEquals(why({ expiresMs: START_MS }), "expired");
    assertEquals(why({ expiresMs: START_MS - 1 }), "expired");
    const later = why({ expiresMs: START_MS + 60_000 });
    assertEquals(later, action === "run" ? "command" : "ok");
  });

  test(`${action}: a client has its hours`, () => {
    const hour = new Date(START_MS).getHours();
    const two = (hour: number) => String(hour % 24).padStart(2, "0");
    const span = (from: number, to: number) =>
      parseHours(`${two(hour + from)}:00-${two(hour + to)}:00`)!;
    assertEquals(why({ hours: span(2, 3) }), "hours");
    assertEquals(why({ hours: span(21, 22) }), "hours");
    const within = why({ hours: span(0, 2) });
    assertEquals(within, action === "run" ? "command" : "ok");
  });

  test(`${action}: a client with a secret needs the code of a step around its stamp`, () => {
    const secret = new Uint8Array(20).fill(5);
    const client = makeClient({ code: secret, run: ["x"] });
    const step = Math.floor(START_MS / STEP_MS);
    const steps = (code: number | null) => {
      const machine = {
        services: [],
        commands: new Map([["x", ["x"] as const]]),
        ownAddresses: [],
        taken: new Set<string>(),
      };
      const request = makeRequest({ action, code, command: "x" });
      const verdict = judge(request, client, SOURCE, START_MS, machine);
      return verdict.ok ? verdict.codeStep! - step : verdict.why;
    };
    const codes = [-2, -1, 0, 1, 2].map((offset) =>
      oneTimeCode(secret, START_MS + offset * STEP_MS)
    );
    assertEquals(new Set(codes).size, 5);
    assertEquals(codes.map(steps), ["code", -1, 0, 1, "code"]);
    assertEquals(steps(null), "code");
    assertEquals(steps((codes[2]! + 1) % 1_000_000), "code");
  });
}

test("one target is for one port", () => {
  const forward = { kind: "local", host: "192.0.2.10", port: 22 } as const;
  const machine = {
    services: [],
    commands: new Map(),
    ownAddresses: ["192.0.2.10"],
    taken: new Set<string>(),
  };
  const why = (...ports: number[]) => {
    const request = makeRequest({
      dialect: "fwknop",
      forward,
      ports: ports.map((first) => ({ protocol: "tcp", first, last: first })),
    });
    const verdict = judge(request, makeClient(), SOURCE, START_MS, machine);
    return verdict.ok ? "ok" : verdict.why;
  };
  assertEquals([why(2222), why(), why(2222, 2223)], [
    "ok",
    "forward",
    "forward",
  ]);
});

const STATE = "/state";
const runtimes = new FakeRuntime();
let folders = 0;
/** A new state, and what opens it again as the next process does. */
async function states() {
  const folder = `${STATE}${++folders}`;
  runtimes.files.put(`${folder}/state.db`, "");
  const open = () => openStore(runtimes, folder);
  return { store: await open(), open };
}
const id = (byte: number) => new Uint8Array(32).fill(byte);

test("an identity is noted once, recorded once, and kept until its very end", async () => {
  const { store: { replay } } = await states();
  assertEquals([replay.note(id(1), 1000), replay.note(id(1), 1000)], [
    true,
    false,
  ]);
  assertEquals([replay.record(id(1), 1000), replay.record(id(1), 1000)], [
    true,
    false,
  ]);
  replay.prune(1000);
  assert(replay.seen(id(1)));
  assert(!replay.record(id(1), 1000));
  replay.prune(1001);
  assert(!replay.seen(id(1)));
  assert(replay.record(id(1), 2000));
});

test("what leaves the memory is in the file", async () => {
  const { store: { replay } } = await states();
  const many = Array.from({ length: 10_001 }, (_, index) => {
    const identity = new Uint8Array(32);
    new DataView(identity.buffer).setUint32(0, index);
    return identity;
  });
  for (const identity of many) assert(replay.note(identity, 5000));
  assert(!replay.seen(many[0]!) && replay.seen(many[1]!));
  assert(!replay.record(many[0]!, 5000), "it was put into the file");
});

test("the next process reads what was accepted", async () => {
  const { store, open } = await states();
  store.replay.record(id(1), 5000);
  store.replay.record(id(2), 4999);
  const { replay } = await open();
  replay.begin(5000, false);
  assertEquals([replay.seen(id(1)), replay.seen(id(2))], [true, false]);
});

test("after a start of the machine all stamps before it are too old, for later processes too", async () => {
  const { store, open } = await states();
  store.replay.begin(9000, false);
  assert(!store.replay.isForgotten(1));
  store.replay.begin(9000, true);
  const forgotten = (replay: typeof store.replay) =>
    [8999, 9000, 9001].map((ms) => replay.isForgotten(ms));
  assertEquals(forgotten(store.replay), [true, true, false]);
  const next = (await open()).replay;
  next.begin(10_000, false);
  assertEquals(forgotten(next), [true, true, false]);
  // A floor ahead of the clock would refuse everybody until then.
  const early = (await open()).replay;
  early.begin(8999, false);
  assertEquals(forgotten(early), [true, false, false]);
  next.shift(-1000);
  assertEquals([8000, 8001].map((ms) => next.isForgotten(ms)), [true, false]);
});

test("a raised max_skew keeps what is recorded for longer, and refuses what was forgotten", async () => {
  const { store: { replay }, open } = await states();
  replay.allow(1000, 10_000);
  replay.note(id(1), 11_000);
  replay.record(id(1), 11_000);
  replay.allow(5000, 10_000);
  replay.prune(15_000);
  assert(replay.seen(id(1)) && !replay.record(id(1), 1));
  assertEquals([9000, 9001].map((ms) => replay.isForgotten(ms)), [true, false]);
  replay.prune(15_001);
  assert(!replay.seen(id(1)));
  const next = (await open()).replay;
  next.begin(10_000, false);
  next.allow(1000, 10_000);
  assertEquals([9000, 9001].map((ms) => next.isForgotten(ms)), [true, false]);
});

const entry = (over: Partial<LedgerEntry> = {}): LedgerEntry => ({
  client: "alice",
  address: SOURCE,
  ports: SSH,
  sinceMs: 1000,
  untilMs: 31_000,
  once: false,
  to: null,
  ...over,
});

test("the ledger keeps the later end, and ends at it", async () => {
  const { store: { ledger } } = await states();
  ledger.put(entry());
  ledger.put(entry({ untilMs: 20_000 }));
  const ends = (ms: number) => [
    ledger.live(ms).length,
    ledger.ofAddress(SOURCE, ms).length,
    ledger.countLive(ms),
    ledger.ended(ms).length,
  ];
  assertEquals(ends(30_999), [1, 1, 1, 0]);
  assertEquals(ends(31_000), [0, 0, 0, 1]);
  ledger.put(entry({ untilMs: 40_000 }));
  assertEquals(ledger.live(0)[0]!.untilMs, 40_000);
});

test("the ledger goes along with a clock that is set", async () => {
  const { store: { ledger } } = await states();
  ledger.put(entry());
  ledger.put(entry({ client: "bob", sinceMs: 500, untilMs: 9000 }));
  const times = () =>
    ledger.live(-Infinity).map(({ client, sinceMs, untilMs }) => [
      client,
      sinceMs,
      untilMs,
    ]).sort();
  ledger.shift(-400);
  assertEquals(times(), [["alice", 600, 30_600], ["bob", 100, 8600]]);
  // Set back unseen: what was granted at a time to come begins now.
  ledger.rebase(200);
  assertEquals(times(), [["alice", 200, 30_200], ["bob", 100, 8600]]);
});

test("the ledger counts its room", async () => {
  const { store: { ledger } } = await states();
  ledger.put(entry());
  assertEquals([ledger.hasRoom(2, 3), ledger.hasRoom(3, 3)], [true, false]);
  ledger.remove(entry());
  assertEquals(ledger.hasRoom(3, 3), true);
});

test("of two clients with one opening the later end counts, single uses apart", () => {
  const ends = (...untils: readonly [number, boolean][]) =>
    mergeEntries(
      untils.map(([untilMs, once], index) =>
        entry({ client: `c${index}`, untilMs, once })
      ),
    ).map(({ untilMs }) => untilMs);
  assertEquals(ends([1, false], [2, false]), [2]);
  assertEquals(ends([2, false], [1, false]), [2]);
  assertEquals(ends([2, false], [3, true]), [2, 3]);
});

test("wrong codes are five, then a delay that doubles up to an hour, over restarts", async () => {
  const { store, open } = await states();
  assertEquals([0, 4, 5, 6, 10, 11, 100].map(delayMs), [
    0,
    0,
    60_000,
    120_000,
    1_920_000,
    3_600_000,
    3_600_000,
  ]);
  const codes = new CodeGuard(store);
  for (let wrong = 0; wrong < 5; wrong++) {
    assert(codes.mayTry("alice", START_MS));
    codes.noteWrong("alice", START_MS);
  }
  const next = new CodeGuard(await open());
  for (const all of [codes, next]) {
    assert(!all.mayTry("alice", START_MS + 59_999));
    assert(all.mayTry("alice", START_MS + 60_000));
    assert(all.mayTry("bob", START_MS));
  }
  // A clock that is set back forgives nothing, and locks nobody out for long.
  assert(!next.mayTry("alice", START_MS - 86_400_000));
  assert(!next.mayTry("alice", START_MS - 86_400_000 + 59_999));
  assert(next.mayTry("alice", START_MS - 86_400_000 + 60_000));
  assert(next.use("alice", 7, 60_000, START_MS));
  assert(!next.use("alice", 7, 60_000, START_MS));
  assert(next.use("bob", 7, 60_000, START_MS), "each client has its own");
  for (let wrong = 0; wrong < 5; wrong++) next.noteWrong("carol", START_MS);
  assert(!next.mayTry("carol", START_MS));
  assert(next.use("carol", 7, 60_000, START_MS));
  assert(next.mayTry("carol", START_MS), "a right one forgives");
});

test("a used code is remembered for as long as it could come again", async () => {
  const { store } = await states();
  const codes = new CodeGuard(store);
  assert(codes.use("alice", 7, 60_000, START_MS));
  store.replay.prune(START_MS + 2 * 60_000 + 3 * STEP_MS);
  assert(!codes.use("alice", 7, 60_000, START_MS));
});

test("a bucket holds its burst, refills at its rate, and is bounded in number", () => {
  const cap = new RateCap({ perSecond: 2, burst: 3 });
  const take = (ms: number, name = "a") => cap.take(name, ms);
  assertEquals([0, 0, 0, 0].map((ms) => take(ms)), [true, true, true, false]);
  assertEquals([499, 500, 500].map((ms) => take(ms)), [false, true, false]);
  assertEquals([take(100), take(0)], [false, false], "a clock set back");
  assert(take(500), "which takes nothing away");
  const full = Array.from({ length: 5 }, () => take(3_600_000));
  assertEquals(full, [true, true, true, false, false]);
  for (let other = 0; other < 65_536; other++) take(3_600_000, `${other}`);
  assert(take(3_600_000), "the quietest is forgotten, and begins anew");
});

test("a client has so many wait, and one less when one is done", async () => {
  const queue = new Queue();
  const gate = Promise.withResolvers<void>();
  const all = Array.from(
    { length: MAX_WAITING },
    () => queue.addFor("alice", () => gate.promise),
  );
  assert(queue.isFull("alice") && !queue.isFull("bob"));
  gate.resolve();
  await Promise.all(all);
  assert(!queue.isFull("alice"));
});

for (
  const [reply, wantsReply, replies] of [
    [true, true, 1],
    [true, false, 0],
    [false, true, 0],
    [false, false, 0],
  ] as const
) {
  test(
    `with reply: ${reply}, a knock that ${
      wantsReply ? "wants" : "wants no"
    } reply gets ${replies}`,
    async () => {
      const psk = new Uint8Array(32).fill(8);
      const key = new Uint8Array(32).fill(9);
      const alice = makeClient({ knock: { key: publicKeyOf(key), psk } });
      const config = makeConfig([alice], { reply });
      const { store } = await states();
      store.replay.begin(START_MS, false);
      const sent: Uint8Array[] = [];
      const socket = {
        send: (bytes: Uint8Array) => {
          sent.push(bytes);
          return Promise.resolve();
        },
      } as unknown as Datagrams;
      runtimes.clock.set(START_MS);
      const receiver = new Receiver(
        await makeServer(
          { runtime: runtimes, store, log: () => {} },
          config,
          FIREWALL,
        ),
      );
      const { packet } = sealKnock(
        {
          server: publicKeyOf(config.key),
          key,
          psk,
          ephemeral: new Uint8Array(32).fill(3),
        },
        {
          action: "ping",
          ports: [],
          command: null,
          seconds: 0,
          address: null,
          code: null,
          wantsReply,
        },
        START_MS,
      );
      receiver.receive([packet], { host: SOURCE, port: 4000 }, socket);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      assertEquals(sent.length, replies);
    },
  );
}
