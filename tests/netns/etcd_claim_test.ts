/** Claims on a real etcd, and what is set along with them. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type {
  Claim,
  FleetEngine,
  FolderReader,
  KeyValue,
} from "../../lib/fleet/fleet.ts";
import { openEngine } from "../../lib/fleet/shared.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { runtime } from "../fakes/runtime.ts";
import { EngineServer } from "./engines.ts";
import { skipOf } from "./fleet.ts";
import { until } from "./netns.ts";

const TEST_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Grants to set along with a claim. */
const ALONG = {
  pairs: [{ key: "grants/a", value: "1" }, { key: "grants/b", value: "2" }],
  liveMs: HOUR_MS,
};

/** A test with a server that runs; `replaced` counts engines that saw other data. */
function etcdTest(
  name: string,
  body: (
    server: EngineServer,
    open: () => Promise<FleetEngine>,
    replaced: () => number,
  ) => Promise<void>,
): void {
  test(`etcd: ${name}`, skipOf("etcd", TEST_MS), async () => {
    const server = await EngineServer.make("etcd");
    const engines: FleetEngine[] = [];
    let replaced = 0;
    const open = async () => {
      const engine = await openEngine(
        runtime,
        server.config(),
        null,
        () => void replaced++,
      );
      engines.push(engine);
      return engine;
    };
    try {
      await server.start();
      const engine = await open();
      await until("etcd answers", () => beats(engine, "probe/x"));
      await body(server, open, () => replaced);
    } finally {
      await Promise.all(engines.map((one) => one.close()));
      await server.remove();
    }
  });
}

/** Beats; false where nothing answers. */
async function beats(engine: FleetEngine, key: string): Promise<boolean> {
  try {
    await engine.beat(key, "1", HOUR_MS);
    return true;
  } catch (error) {
    if (error instanceof SystemError) return false;
    throw error;
  }
}

/** Claims a key with grants along with it. They are set if it says so, and else not; they are dropped again. */
async function claimAlong(
  engine: FleetEngine,
  key: string,
  value = "gw1 x",
): Promise<Claim> {
  const claim = await engine.claim(key, value, HOUR_MS, ALONG);
  const isSet = claim.state === "ours" && claim.along;
  const found = ALONG.pairs.map(({ key }) => engine.get(key));
  assertEquals(
    await Promise.all(found),
    isSet ? ["1", "2"] : [null, null],
    `${key}: ${JSON.stringify(claim)}`,
  );
  for (const { key } of ALONG.pairs) await engine.drop(key);
  return claim;
}

const TOLD: Claim = { state: "ours", along: true };
const NOT_TOLD: Claim = { state: "ours", along: false };

etcdTest(
  "what is set along with a claim is set in the same write, or not at all",
  async (_server, open) => {
    const [one, two] = [await open(), await open()];
    assertEquals(await claimAlong(one, "accepted/a"), NOT_TOLD, "no heartbeat");
    assert(
      await beats(one, "gateways/gw1") && await beats(two, "gateways/gw2"),
    );
    const batches: (readonly KeyValue[])[] = [];
    let isRead = false;
    const reader: FolderReader = {
      begin: () => {},
      changed: (changes) => void batches.push(changes),
      end: () => isRead = true,
      lost: () => {},
    };
    const watch = two.watch([{ name: "grants/", position: null, reader }]);
    await until("all is read", () => isRead);
    batches.length = 0;
    assertEquals(await claimAlong(one, "accepted/b"), TOLD);
    await until("it is told", () => batches.length > 0);
    assertEquals(batches[0], ALONG.pairs, "both at once");
    await watch.stop();

    const taken: Claim = { state: "taken", holder: "gw1 x" };
    assertEquals(await claimAlong(two, "accepted/b", "gw2 y"), taken);
    assertEquals(await claimAlong(two, "accepted/a", "gw2 y"), taken);
    // Its own nonce again: an answer was lost. It was carried out, and all with it.
    const again = await one.claim("accepted/b", "gw1 x", HOUR_MS, ALONG);
    assertEquals(again, TOLD);
    assertEquals(await one.get("grants/a"), null);

    // A heartbeat that arrived, and whose answer did not: a claim of before may be on its way.
    const lost = await open();
    assert(await beats(lost, "gateways/gw1"));
    assertEquals(await claimAlong(one, "accepted/c"), NOT_TOLD);
    assert(await beats(one, "gateways/gw1"));
    assertEquals(await claimAlong(one, "accepted/d"), TOLD);
  },
);

etcdTest(
  "nothing is set along with a claim in other data than the heartbeat is in",
  async (server, open, replaced) => {
    const engine = await open();
    assert(await beats(engine, "gateways/gw1"));
    assertEquals(await claimAlong(engine, "accepted/a"), TOLD);
    await server.stop();
    server.empty();
    await server.start();
    await until("a claim is ours", async () => {
      const { state } = await engine.claim("accepted/b", "gw1 y", 1, ALONG);
      return state === "ours";
    });
    assert(replaced() > 0);
    assertEquals(await engine.get("grants/a"), null);
    assert(await beats(engine, "gateways/gw1"));
    assertEquals(await claimAlong(engine, "accepted/c"), TOLD);
  },
);
