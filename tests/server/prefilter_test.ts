import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { tagOf, WINDOW_MS, windowOf } from "../../lib/dialects/knock1/tag.ts";
import type { Firewall, Prefilter } from "../../lib/firewall/firewall.ts";
import {
  renewPrefilter,
  setPrefilter,
} from "../../lib/server/packet/prefilter.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";

/** A server with clients of these dialects, and what its kernel was told. */
async function makeTestServer(
  dialects: readonly ("knock" | "openme")[],
  web = false,
) {
  const runtime = new FakeRuntime({ steps: "by hand" });
  const store = await openStore(runtime, "/var/lib/knock");
  const key = publicKeyOf(new Uint8Array(32).fill(7));
  const clients = dialects.map((dialect) =>
    makeClient({
      name: dialect,
      web,
      ...dialect === "knock"
        ? { knock: { key, psk: new Uint8Array(32) } }
        : { openme: { key } },
    })
  );
  const config = makeConfig(clients);
  const told: (Prefilter | null)[] = [];
  const firewall = {
    kernel: {
      setPrefilter: (prefilter: Prefilter | null) => {
        told.push(prefilter);
        return Promise.resolve();
      },
    },
  } as unknown as Firewall;
  const server = await makeServer(
    { runtime, store, log: () => {} },
    config,
    firewall,
  );
  /** Distances of the tags' windows from that of now. */
  const offsets = () => {
    const now = windowOf(runtime.nowMs());
    const server = publicKeyOf(config.key);
    const all = new Map(
      Array.from({ length: 41 }, (_, index) => index - 20).map((offset) => [
        tagOf(server, now + offset).toHex(),
        offset,
      ]),
    );
    return told.at(-1)!.tags.map((tag) => all.get(tag.toHex()));
  };
  return { runtime, server, told, offsets, config };
}

test("the prefilter takes the tags of the skew, and one window ahead", async () => {
  const { runtime, server, told, offsets, config } = await makeTestServer(
    ["knock"],
  );
  await setPrefilter(server, server.active);
  assertEquals(config.maxSkewMs, 2 * WINDOW_MS);
  const ports = config.listen.map(({ port }) => port);
  assertEquals(told.at(-1)!.ports, ports);
  assertEquals(offsets(), [-2, -1, 0, 1, 2, 3]);
  // Renewed when its window is over, and not before.
  await renewPrefilter(server);
  assertEquals(told.length, 1);
  await runtime.clock.advance(WINDOW_MS - START_MS % WINDOW_MS);
  await renewPrefilter(server);
  assertEquals([told.length, offsets()], [2, [-2, -1, 0, 1, 2, 3]]);
  // At the end of a window, too.
  await runtime.clock.advance(WINDOW_MS - 1);
  await setPrefilter(server, server.active);
  assertEquals(offsets(), [-2, -1, 0, 1, 2, 3]);
});

test("nothing is dropped by its tag where a client's dialect has none", async () => {
  const { server, told } = await makeTestServer(["knock", "openme"]);
  await setPrefilter(server, server.active);
  assertEquals(told, [null]);
  await renewPrefilter(server);
  assertEquals(told.length, 1);
});

test("browsers' tags pass where a client knocks from one", async () => {
  for (const web of [true, false]) {
    const { server, told } = await makeTestServer(["knock"], web);
    await setPrefilter(server, server.active);
    assertEquals(told[0]!.webTags?.length, web ? 6 : undefined);
  }
});
