import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { ClockWatch } from "../../lib/server/state/clock.ts";
import type { Firewall } from "../../lib/firewall/firewall.ts";
import { followClock } from "../../lib/server/grants/upkeep.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeConfig } from "../fakes/fixtures.ts";

const HOUR_MS = 3_600_000;

/** The clock, what measures, by how much it was set, what is sure. */
const looks: [
  nowMs: number,
  monotonicMs: number,
  jump: number,
  sure: number,
][] = [
  [HOUR_MS + 1000, 1000, 0, HOUR_MS + 1000],
  [HOUR_MS + 2400, 2000, 0, HOUR_MS + 2000],
  [2 * HOUR_MS + 3000, 3000, HOUR_MS, HOUR_MS + 3000],
  [2 * HOUR_MS + 4000, 4000, 0, HOUR_MS + 4000],
  [HOUR_MS + 5000, 5000, -HOUR_MS, HOUR_MS + 5000],
  [6000, 6000, -HOUR_MS, 6000],
];

test("ClockWatch tells by how much the clock was set, and what is sure", () => {
  const watch = new ClockWatch({ nowMs: HOUR_MS, monotonicMs: 0 });
  for (const [nowMs, monotonicMs, jump, sure] of looks) {
    const now = { nowMs, monotonicMs };
    assertEquals([watch.look(now), watch.surelyMs(now)], [jump, sure]);
    if (jump !== 0) watch.note(now);
  }
});

test("ClockWatch adds up a clock that is set little by little", () => {
  const watch = new ClockWatch({ nowMs: 0, monotonicMs: 0 });
  const jumps = [1, 2, 3].map((turn) =>
    watch.look({ nowMs: turn * 1400, monotonicMs: turn * 1000 })
  );
  assertEquals(jumps, [0, 0, 1200]);
});

test("ClockWatch takes a clock that was set for right after two days", () => {
  const settled = 48 * HOUR_MS;
  const year = 365 * 24 * HOUR_MS;
  const watch = new ClockWatch({ nowMs: 0, monotonicMs: 0 });
  const at = (monotonicMs: number) => ({
    nowMs: 56 * year + monotonicMs,
    monotonicMs,
  });
  watch.note(at(10_000));
  assertEquals(watch.surelyMs(at(10_000)), 10_000);
  assertEquals(watch.surelyMs(at(settled)), settled);
  // Adjustments do not put it off, another jump does.
  const nudged = (ms: number) => ({ ...at(ms), nowMs: at(ms).nowMs + 2000 });
  watch.note(nudged(settled));
  assertEquals(watch.surelyMs(nudged(settled + 9_999)), settled + 9_999);
  assertEquals(
    watch.surelyMs(nudged(settled + 10_000)),
    at(settled + 10_000).nowMs,
  );
  const back = { nowMs: 55 * year, monotonicMs: 2 * settled };
  watch.note(back);
  assertEquals(watch.surelyMs(back), back.nowMs);
});

test("ClockWatch takes a clock that was set a little for right after two days, too", () => {
  const settled = 48 * HOUR_MS;
  const watch = new ClockWatch({ nowMs: 0, monotonicMs: 0 });
  const at = (monotonicMs: number) => ({
    nowMs: monotonicMs + 5000,
    monotonicMs,
  });
  watch.note(at(1000));
  assertEquals(watch.surelyMs(at(settled)), settled);
  assertEquals(watch.surelyMs(at(settled + 1000)), at(settled + 1000).nowMs);
});

/** Shifts of grants and of the replay record by a set clock. */
const jumps: [what: string, jumpMs: number, grants: number, floor: number][] = [
  ["back", -HOUR_MS, -HOUR_MS, -HOUR_MS],
  ["forward", HOUR_MS, 0, HOUR_MS],
  ["by half a second", 500, 0, 0],
];

for (const [what, jumpMs, grants, floor] of jumps) {
  test(`followClock(): a clock that is set ${what}`, async () => {
    const runtime = new FakeRuntime({ steps: "by hand" });
    const store = await openStore(runtime, "/state");
    let nowMs = 10 * HOUR_MS;
    const clocks = Object.assign(Object.create(runtime), {
      nowMs: () => nowMs,
      monotonicMs: () => 0,
    }) as FakeRuntime;
    let applied = 0;
    const firewall = {
      apply: () => Promise.resolve(void applied++),
    } as unknown as Firewall;
    const server = await makeServer(
      { runtime: clocks, store, log: () => {} },
      makeConfig([]),
      firewall,
    );
    const startMs = nowMs;
    store.replay.begin(startMs, true);
    store.ledger.put({
      client: "alice",
      address: "203.0.113.9",
      ports: { protocol: "tcp", first: 22, last: 22 },
      sinceMs: startMs,
      untilMs: startMs + 60_000,
      once: false,
      to: null,
    });
    nowMs += jumpMs;
    followClock(server);
    followClock(server); // the same jump counts once
    await server.queue.settled();
    const [entry] = store.ledger.live(-Infinity);
    assertEquals(entry!.untilMs - startMs - 60_000, grants);
    const isFloor = [0, 1].map((ms) =>
      store.replay.isForgotten(startMs + floor + ms)
    );
    assertEquals(isFloor, [true, false]);
    assertEquals(applied, jumpMs === 500 ? 0 : 1);
  });
}
