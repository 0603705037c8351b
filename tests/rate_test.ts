import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { RateCap, sourceOf } from "../lib/server/rate.ts";

function count(cap: RateCap, source: string, nowMs: number, tries: number) {
  let taken = 0;
  for (let i = 0; i < tries; i++) if (cap.take(source, nowMs)) taken++;
  return taken;
}

test("RateCap gives a source a burst, and then so many a second", () => {
  const cap = new RateCap();
  assertEquals(count(cap, "192.0.2.1", 0, 1000), 40);
  assertEquals(count(cap, "192.0.2.2", 0, 1), 1, "another has its own");
  assertEquals(count(cap, "192.0.2.1", 1000, 1000), 20);
  assertEquals(count(cap, "192.0.2.1", 600_000, 1000), 40);
});

test("RateCap survives a clock that goes back", () => {
  const cap = new RateCap();
  count(cap, "192.0.2.1", 10_000, 1000);
  assertEquals(count(cap, "192.0.2.1", 0, 10), 0);
  assertEquals(count(cap, "192.0.2.1", 1000, 1000), 20);
});

test("RateCap keeps a bounded number of sources", () => {
  const cap = new RateCap();
  count(cap, "192.0.2.1", 0, 1000);
  for (let i = 0; i < 70_000; i++) cap.take(`source ${i}`, 0);
  assert(cap.take("192.0.2.1", 0), "the quietest was forgotten");
});

test("sourceOf() takes a network of IPv6 for one source", () => {
  assertEquals(sourceOf("192.0.2.1"), "192.0.2.1");
  assertEquals(sourceOf("2001:db8::1"), sourceOf("2001:db8::ffff:1"));
  assert(sourceOf("2001:db8::1") !== sourceOf("2001:db8:0:1::1"));
  assertEquals(sourceOf("somebody"), "somebody");
});
