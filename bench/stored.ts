/**
 * Valid knocks a second that one core takes from the bytes to the answer:
 * opened, judged, recorded in a real state file, logged, answered. Only the
 * socket is missing, and the firewall, which costs nothing here. `deno run -A
 * bench/stored.ts`, or `bun bench/stored.ts`.
 *
 * @module
 */

import process from "node:process";
import { publicKeyOf } from "../lib/dialects/crypto/curve25519.ts";
import { knock1Dialect } from "../lib/dialects/knock1/open.ts";
import type { Firewall } from "../lib/firewall/firewall.ts";
import { carryOut } from "../lib/server/grants/change.ts";
import { decide } from "../lib/server/packet/decide.ts";
import { makeServer } from "../lib/server/state/server.ts";
import { openStore } from "../lib/server/state/store.ts";
import { makeClient, makeConfig } from "../tests/fakes/fixtures.ts";
import { bytesOf } from "../tests/fakes/packets.ts";
import { runtime } from "../tests/fakes/runtime.ts";
import { sealKnock } from "../lib/dialects/knock1/seal.ts";

const PACKETS = 4096;
const WARM_UP = 512;

/** A firewall that has done everything at once. */
const done = () => Promise.resolve();
const firewall: Firewall = {
  name: "none",
  endsGrants: true,
  apply: done,
  change: done,
  intact: () => Promise.resolve(true),
  stop: done,
  remove: done,
};

/** Measures for about a second. Throws if a knock is not done. */
export async function measureStored(): Promise<
  { readonly judge_stored_per_s: number }
> {
  const keys = { name: "alice", key: bytesOf("client"), psk: bytesOf("psk") };
  const server = bytesOf("server");
  const nowMs = Date.now();
  const packets = Array.from(
    { length: PACKETS },
    (_, index) =>
      sealKnock(
        {
          server: publicKeyOf(server),
          key: keys.key,
          psk: keys.psk,
          ephemeral: bytesOf(`ephemeral ${index}`),
        },
        {
          action: "open",
          ports: [{ protocol: "tcp", first: 22, last: 22 }],
          command: null,
          seconds: 0,
          address: `10.96.${index >> 8}.${index & 255}`,
          code: null,
          wantsReply: true,
        },
        nowMs,
      ).packet,
  );
  const dialect = knock1Dialect(
    server,
    [{ ...keys, key: publicKeyOf(keys.key) }],
    120_000,
  );
  const folder = runtime.files.makeTemporaryFolder();
  try {
    const store = await openStore(runtime, folder);
    const log = () => {};
    const client = makeClient({ anyAddress: true });
    const state = await makeServer(
      { runtime, store, log },
      makeConfig([client]),
      firewall,
    );
    const take = async (packet: Uint8Array) => {
      const opened = dialect.open(packet, {
        nowMs,
        seen: (identity) => store.replay.seen(identity),
        mayCost: () => true,
      });
      if (!opened.ok) throw new Error(`refused: ${opened.why}`);
      const decision = decide(state, opened.request, "192.0.2.9", nowMs);
      const answer = decision && await carryOut(state, decision);
      if (answer?.status !== "done") throw new Error("not done");
      opened.seal(answer, runtime.random(32));
    };
    for (const packet of packets.slice(0, WARM_UP)) await take(packet);
    const start = performance.now();
    for (const packet of packets.slice(WARM_UP)) await take(packet);
    const elapsed = performance.now() - start;
    store.close();
    return {
      judge_stored_per_s: Math.round((PACKETS - WARM_UP) / elapsed * 1000),
    };
  } finally {
    runtime.files.removeFolder(folder);
  }
}

if (import.meta.main) {
  process.stdout.write(`${JSON.stringify(await measureStored())}\n`);
}
