import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { watchFolders } from "../../lib/fleet/watch.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

/** Pauses behind watches that last so long, milliseconds each, and then break. */
async function pausesAfter(...lasting: number[]): Promise<number[]> {
  const pauses: number[] = [];
  const over = Promise.withResolvers<void>();
  let nowMs = 0;
  const runtime = Object.assign(new FakeRuntime(), {
    monotonicMs: () => nowMs,
    sleep: (ms: number) => {
      pauses.push(ms);
      if (lasting.length === 0) over.resolve(watch.stop());
      return Promise.resolve();
    },
  });
  const watch = watchFolders(runtime, {
    whole: async function* () {},
    follow: async () => {
      await Promise.resolve();
      nowMs += lasting.shift()!;
      throw new SystemError("ECONNRESET", "it broke");
    },
    turn: () => {},
  }, []);
  await over.promise;
  return pauses;
}

test("a watch that breaks goes on later and later, and soon after one that lasted", async () => {
  const growing = [100, 200, 400, 800, 1600, 3000, 3000];
  assertEquals(await pausesAfter(0, 0, 0, 0, 0, 0, 0), growing);
  const lasted = [100, 200, 400, 100, 200];
  assertEquals(await pausesAfter(0, 0, 0, 60_000, 10), lasted);
});
