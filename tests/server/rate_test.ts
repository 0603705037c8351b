import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { RateCap } from "../../lib/server/packet/limits.ts";

const RATE = { perSecond: 20, burst: 40 };

function count(cap: RateCap, name: string, nowMs: number, tries: number) {
  let taken = 0;
  for (let i = 0; i < tries; i++) if (cap.take(name, nowMs)) taken++;
  return taken;
}

test("RateCap gives a name a burst, and then so many a second", () => {
  const cap = new RateCap(RATE);
  assertEquals(count(cap, "alice", 0, 1000), 40);
  assertEquals(count(cap, "bob", 0, 1), 1, "another has its own");
  assertEquals(count(cap, "alice", 1000, 1000), 20);
  assertEquals(count(cap, "alice", 600_000, 1000), 40);
});

test("RateCap survives a clock that goes back", () => {
  const cap = new RateCap(RATE);
  count(cap, "alice", 10_000, 1000);
  assertEquals(count(cap, "alice", 0, 10), 0);
  assertEquals(count(cap, "alice", 1000, 1000), 20);
});

test("RateCap keeps a bounded number of names", () => {
  const cap = new RateCap(RATE);
  count(cap, "alice", 0, 1000);
  for (let i = 0; i < 70_000; i++) cap.take(`name ${i}`, 0);
  assert(cap.take("alice", 0), "the least recently used was forgotten");
});
