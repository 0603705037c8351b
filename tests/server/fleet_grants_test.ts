/** The grants of a fleet in their file, and beside it while that takes nothing. */

import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { GrantMirror } from "../../lib/server/fleet/grants.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { onePort } from "../../lib/values/ports.ts";
import { FakeDatabases } from "../fakes/fake_database.ts";
import fc from "../fakes/fast_check.ts";

const WHOSE = ["alice", "192.0.2.1"] as const;

const step = fc.record({
  isFull: fc.boolean(),
  act: fc.constantFrom("put", "take", "begin", "prune"),
  port: fc.integer({ min: 1, max: 4 }),
  untilMs: fc.integer({ min: 1, max: 1000 }),
});

test("GrantMirror: a disk that is full now and then changes no answer", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const files = new FakeDatabases();
    const full = new GrantMirror(files.open("a"));
    const good = new GrantMirror(new FakeDatabases().open("b"));
    for (const { isFull, act, port, untilMs } of steps) {
      files.failing = isFull ? "ENOSPC" : null;
      const [got, wanted] = [full, good].map((mirror) => {
        if (act === "begin") return mirror.begin();
        if (act === "take") return mirror.take(`key ${port}`);
        if (act === "put") {
          return mirror.put(`key ${port}`, grant(port, untilMs));
        }
        if (mirror === good || !isFull) return mirror.prune(0);
        assertThrows(() => mirror.prune(0), SystemError, "ENOSPC");
      });
      assertEquals(got, wanted);
      assertEquals(listing(full, untilMs), listing(good, untilMs));
    }
    files.failing = null;
    full.prune(0);
    const reopened = new GrantMirror(files.open("a"));
    assertEquals(listing(reopened, 0)[0], listing(good, 0)[0]);
  }));
});

/** Grants that last until later than a time, and all keys that are old and do. */
function listing(mirror: GrantMirror, nowMs: number) {
  const live = mirror.of(...WHOSE, nowMs).sort();
  const keys = live.map(([key]) => key);
  return [live, mirror.old().filter((key) => keys.includes(key)).sort()];
}

function grant(port: number, untilMs: number) {
  const [client, address] = WHOSE;
  return {
    client,
    address,
    ports: onePort("tcp", port),
    untilMs,
    gateway: "a",
  };
}
