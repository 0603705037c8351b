/** The claims of NATS where answers are lost or wrong: what is unknown is never ours. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { FleetEngine } from "../../lib/fleet/fleet.ts";
import { openEngine } from "../../lib/fleet/shared.ts";
import { FakeNats } from "../fakes/fake_nats.ts";
import { runtime } from "../fakes/runtime.ts";

const KEY = "accepted/a";
const SUBJECT = "$KV.knock.accepted.a";
const OURS = { state: "ours", along: false };
const LIVE_MS = 600_000;

function engineTest(
  name: string,
  body: (
    fake: FakeNats,
    engine: FleetEngine,
    replaced: () => number,
  ) => Promise<void>,
): void {
  test(name, { timeout: 60_000 }, async () => {
    const fake = await FakeNats.start();
    let replaced = 0;
    const engine = await openEngine(
      runtime,
      {
        ...{ engine: "nats", servers: [fake.address], name: "gw1" },
        ...{ prefix: "knock", secret: new Uint8Array(32) },
        ...{
          tls: { ca: null, cert: null, key: null },
          user: null,
          token: null,
        },
        ...{ credentials: null, without: "refuse", staleMs: 3_600_000 },
      },
      null,
      () => void replaced++,
    );
    try {
      await body(fake, engine, () => replaced);
    } finally {
      await engine.close();
      await fake.stop();
    }
  });
}

engineTest("a claim that is acknowledged is ours", async (fake, engine) => {
  assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), OURS);
  assertEquals(fake.stored.get(SUBJECT), "gw1 x");
  assertEquals(engine.seen.mark, { id: fake.created, revision: 11 });
});

engineTest("a key that another has is taken", async (fake, engine) => {
  fake.stored.set(SUBJECT, "gw2 y");
  assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), {
    state: "taken",
    holder: "gw2 y",
  });
  assertEquals(fake.stored.get(SUBJECT), "gw2 y");
});

engineTest(
  "a claim whose answer was lost is found to be ours",
  async (fake, engine) => {
    fake.lostAnswers = 1;
    assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), OURS);
  },
);

engineTest("no answer is unknown", async (fake, engine) => {
  fake.isSilent = true;
  assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), {
    state: "unknown",
    why: "no answer in time",
  });
});

engineTest(
  "a key that another is writing is neither ours nor taken yet",
  async (fake, engine) => {
    fake.underWay.add(SUBJECT);
    assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), {
      state: "unknown",
      why: "no answer in time",
    });
    const claiming = engine.claim(KEY, "gw1 x", LIVE_MS);
    fake.stored.set(SUBJECT, "gw2 y");
    assertEquals(await claiming, { state: "taken", holder: "gw2 y" });
    // Or the other's came to nothing.
    fake.stored.clear();
    const again = engine.claim(KEY, "gw1 x", LIVE_MS);
    fake.underWay.clear();
    assertEquals(await again, OURS);
  },
);

engineTest("an answer of another bucket acknowledges nothing", async (
  fake,
  engine,
) => {
  await engine.put("probe", "1", null);
  // The look at the bucket is over; writes are answered by another.
  const { stream } = fake;
  Object.defineProperty(fake, "stream", { get: () => "KV_other" });
  const { state } = await engine.claim(KEY, "gw1 x", LIVE_MS);
  assertEquals([stream, state], ["KV_knock", "unknown"]);
});

engineTest(
  "a bucket whose revision goes back, or that was made anew, is other data",
  async (fake, engine, replaced) => {
    await engine.put("probe", "1", null);
    assertEquals(replaced(), 0);
    fake.sequence = 3;
    assertEquals(await engine.claim(KEY, "gw1 x", LIVE_MS), OURS);
    assertEquals(replaced(), 1);
    // With a higher revision: the heartbeat looks.
    fake.created = "2026-02-02T00:00:00Z";
    fake.sequence = 5000;
    await engine.beat("gateways/gw1", "1", 10_000);
    assertEquals(replaced(), 2);
    assertEquals(engine.seen.mark, { id: fake.created, revision: 5001 });
  },
);

engineTest("the clock of the bucket's leader is told", async (fake, engine) => {
  fake.aheadMs = 90_000;
  assertEquals(engine.seen.aheadMs, null);
  await engine.beat("gateways/gw1", "1", 10_000);
  assertEquals(Math.round(engine.seen.aheadMs! / 30_000), 3);
});
