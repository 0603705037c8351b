/** The server's clock over a thousand windows: its tags in the program of XDP, and real knocks. */

import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";
import { WINDOW_MS } from "../../lib/dialects/knock1/tag.ts";
import type { Firewall, Prefilter } from "../../lib/firewall/firewall.ts";
import { Bpf } from "../../lib/firewall/xdp/bpf.ts";
import { Filter } from "../../lib/firewall/xdp/xdp.ts";
import { VERDICTS } from "../../lib/firewall/xdp/program.ts";
import {
  renewPrefilter,
  setPrefilter,
} from "../../lib/server/packet/prefilter.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig } from "../fakes/fixtures.ts";
import { frameBytes, runOn } from "../fakes/frames.ts";
import { bytesOf } from "../fakes/packets.ts";
import { runtime as realRuntime } from "../fakes/runtime.ts";
import { sealWebKnock, writeCheck } from "../fakes/web_knock.ts";
import { SERVER, whyNot } from "./netns.ts";

const reason = whyNot();
const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;

const WINDOWS = 1000;
const [KEY, PSK] = [bytesOf("client"), bytesOf("psk")];

test(
  `knocks pass XDP in each of ${WINDOWS} windows, and none too early or late`,
  { skip, timeout: 60_000 },
  async () => {
    if (reason !== null) throw new Error(`cannot run: ${reason}`);
    const runtime = new FakeRuntime({ steps: "by hand" });
    const store = await openStore(runtime, "/var/lib/knock");
    const knock = { key: publicKeyOf(KEY), psk: PSK };
    const config = makeConfig([
      makeClient({ name: "alice", web: true, knock }),
    ]);
    const bpf = await Bpf.open(realRuntime);
    const filter = new Filter(bpf);
    const state = { kind: "xdp", interfaces: [], problem: null };
    const kernel = {
      prefilter: state,
      setPrefilter: (prefilter: Prefilter) => {
        filter.set(prefilter, Object.values(SERVER));
        return Promise.resolve();
      },
    };
    const server = await makeServer(
      { runtime, store, log: () => {} },
      config,
      { kernel } as unknown as Firewall,
    );
    const keys = {
      server: publicKeyOf(config.key),
      key: KEY,
      psk: PSK,
      ephemeral: bytesOf("ephemeral"),
    };
    const request = {
      action: "open",
      ports: [],
      command: null,
      seconds: 30,
      address: null,
      code: null,
    } as const;
    /** Verdicts on both forms of a knock that a client with this clock sends. */
    const verdicts = (nowMs: number) => {
      const { packet } = sealKnock(
        keys,
        { ...request, wantsReply: true },
        nowMs,
      );
      const { ufrag, pwd } = sealWebKnock(keys, request, nowMs);
      const check = writeCheck(`${ufrag}:abcd`, new Uint8Array(12), pwd);
      const port = config.listen[0]!.port;
      return [packet, check].map((payload) =>
        runOn(bpf, filter.program, frameBytes({ to: SERVER[4], port, payload }))
          .verdict
      );
    };
    const passed = [VERDICTS.pass, VERDICTS.pass];
    const dropped = [VERDICTS.drop, VERDICTS.drop];
    try {
      await setPrefilter(server, server.active);
      for (let window = 0; window < WINDOWS; window++) {
        const nowMs = runtime.nowMs();
        for (const offMs of [-config.maxSkewMs, 0, config.maxSkewMs]) {
          assertEquals(verdicts(nowMs + offMs), passed, `${window}: ${offMs}`);
        }
        const far = config.maxSkewMs + 3 * WINDOW_MS;
        for (const offMs of [-far, far]) {
          assertEquals(verdicts(nowMs + offMs), dropped, `${window}: ${offMs}`);
        }
        await runtime.clock.advance(WINDOW_MS);
        await renewPrefilter(server);
      }
    } finally {
      filter.close();
    }
  },
);
