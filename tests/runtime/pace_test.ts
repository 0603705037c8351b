import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { paced } from "../../lib/runtime/sockets/bun.ts";

const SOURCE = { host: "192.0.2.1", port: 1 };
const SHARE_MS = 10;

/** A clock that each datagram moves on, and turns that the test gives. */
function machine(costMs: number) {
  let nowMs = 0;
  let waiting: (() => void)[] = [];
  const heard: number[] = [];
  const pace = paced((bytes) => {
    heard.push(bytes[0]!);
    nowMs += costMs;
  }, { nowMs: () => nowMs, next: (call) => waiting.push(call) });
  return {
    heard,
    stop: () => pace.stop(),
    take: (first: number, size = 1) =>
      pace.take(new Uint8Array(size).fill(first), SOURCE),
    /** Gives a turn; false when nobody asked for one. */
    turn: () => {
      const calls = waiting;
      waiting = [];
      for (const call of calls) call();
      return calls.length > 0;
    },
  };
}

test("paced() hands out at once what costs little", () => {
  const { take, heard, turn } = machine(0.001);
  for (let index = 0; index < 100; index++) take(index);
  assertEquals(heard.length, 100);
  assert(turn());
  assert(!turn(), "nothing is asked for when nothing waits");
});

test("paced() gives everything else a turn, and keeps the order", () => {
  const { take, heard, turn } = machine(SHARE_MS / 2);
  const all = [0, 1, 2, 3, 4, 5, 6];
  for (const index of all) take(index);
  assertEquals(heard, [0, 1]);
  turn();
  take(7); // waits for its turn behind the others
  assertEquals(heard, [0, 1, 2, 3]);
  while (turn());
  assertEquals(heard, [...all, 7]);
});

test("paced() lets no more than a megabyte wait", () => {
  for (const size of [1, 216, 65507]) {
    const { take, heard, turn } = machine(SHARE_MS);
    for (let index = 0; index < 5000; index++) take(1, size);
    while (turn());
    const most = Math.floor(1024 * 1024 / (size + 512)) + 1;
    assertEquals(heard.length, most);
    take(2);
    while (turn());
    assertEquals(heard.at(-1), 2, "there is room again");
  }
});

test("paced() hands out nothing after stop()", () => {
  const { take, heard, turn, stop } = machine(SHARE_MS);
  for (const index of [0, 1, 2]) take(index);
  stop();
  take(3);
  while (turn());
  assertEquals(heard, [0]);
});

test("paced() goes on behind a datagram that its handler threw at", () => {
  const calls: (() => void)[] = [];
  const heard: number[] = [];
  let nowMs = 0;
  const pace = paced((bytes) => {
    heard.push(bytes[0]!);
    nowMs += SHARE_MS;
    if (bytes[0] === 1) throw new Error("a bug");
  }, { nowMs: () => nowMs, next: (call) => calls.push(call) });
  for (const index of [0, 1, 2]) pace.take(Uint8Array.of(index), SOURCE);
  assertThrows(() => calls.shift()!(), Error, "a bug");
  while (calls.length > 0) calls.shift()!();
  assertEquals(heard, [0, 1, 2]);
});
