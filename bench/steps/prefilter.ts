/**
 * The cost of a junk frame by the place where it is dropped, and knocks under
 * as many of them as there go. The frames are made inside the kernel, so that
 * their making is a small part of the time, which is measured and left out.
 */

import type { PrefilterChoice } from "../../lib/firewall/firewall.ts";
import { frameBytes } from "../../tests/fakes/frames.ts";
import { NftDriver } from "../../tests/netns/driver.ts";
import {
  must,
  type Pair,
  SERVER,
  Talker,
  until,
} from "../../tests/netns/netns.ts";
import type { FramesAnswer, FramesOrder } from "../frames.ts";
import { GuardedServer } from "../guarded.ts";
import { script, Stage } from "../stage.ts";
import type { Bench, Step } from "../step.ts";
import { knockAll } from "./flood.ts";

const KNOCK_PORT = 62201;
const ROUNDS = 5;
const FRAMES = 1_000_000;
const KNOCKS = 20;
const ONE_TRY_MS = 1000;
/** The flood is halved until every knock opens, so many times. */
const HALVINGS = 8;
/** It runs so long before a knock. */
const SETTLE_MS = 300;
/** A driver has no room for these in one page: XDP is then generic. */
const LARGE_MTU = "9000";

/** A place where junk is dropped. */
interface Place {
  readonly name: "off" | "raw" | "ingress" | "xdp_generic" | "xdp_native";
  readonly choice: PrefilterChoice;
  readonly mtu?: string;
  /** As the state of the prefilter shows it. */
  readonly shown: string;
}

const PLACES: readonly Place[] = [
  { name: "off", choice: "auto", shown: "off" },
  { name: "raw", choice: "nft", shown: "nft" },
  { name: "ingress", choice: "auto", shown: "ingress eth0" },
  {
    name: "xdp_generic",
    choice: "xdp",
    mtu: LARGE_MTU,
    shown: "xdp eth0 (generic)",
  },
  { name: "xdp_native", choice: "xdp", shown: "xdp eth0 (native)" },
];

/**
 * Those under which knocks are counted. A frame made in the kernel takes a page
 * of the socket's buffer, where a knock finds room beside it: without a
 * prefilter the steps flood and ungated count them.
 */
const DROPPING = PLACES.filter(({ name }) => name !== "off");

export const prefilter: Step = {
  name: "prefilter",
  measures: [
    "prefilter_ns_frame",
    ...PLACES.map(({ name }) => `prefilter_ns_${name}`),
    ...DROPPING.map(({ name }) => `prefilter_pps_${name}`),
    ...DROPPING.map(({ name }) => `prefilter_pps_20_of_20_${name}`),
  ],
  peers: [],
  programs: ["chrt", "taskset"],
  inNamespaces: true,

  async run(bench) {
    await measureCosts(bench);
    for (const place of DROPPING) await measureKnocks(bench, place);
  },
};

/** All places in one run, a round of each after the other. */
async function measureCosts({ results, quick }: Bench): Promise<void> {
  await Stage.with(async ({ pair }) => {
    const frames = await startFrames(pair);
    const { frame, receiver } = frames;
    const count = quick ? FRAMES / 10 : FRAMES;
    const time = async () => {
      const received = await receivedFrames(pair);
      const { ms } = await frames.ask({ do: "make", frame, count });
      // On the same processor: the other end has nearly done with them.
      await until(
        "all are received",
        async () => await receivedFrames(pair) - received >= count,
      );
      return ms * 1e6 / count;
    };
    const times = new Map<string, number[]>();
    const note = (name: string, ns: number) =>
      times.set(name, [...times.get(name) ?? [], ns]);
    for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
      await receiver.ask({ do: "drop", on: true });
      await time();
      const alone = await time();
      await receiver.ask({ do: "drop", on: false });
      note("frame", alone);
      for (const place of PLACES) {
        await setMtu(pair, place.mtu ?? "1500");
        const nft = await startPlace(pair, place);
        await time();
        const before = await dropped(nft);
        note(place.name, Math.max(0, await time() - alone));
        const drops = await dropped(nft) - before;
        await nft.kill();
        await pair.onServer(["nft", "flush", "ruleset"]);
        if (place.name !== "off" && drops !== count) {
          throw new Error(`${place.name} dropped ${drops} of ${count}`);
        }
      }
      await setMtu(pair, "1500");
    }
    for (const [name, all] of times) {
      results.timings("measures", `prefilter_ns_${name}`, all);
    }
  });
}

/** The most frames a second under which twenty of twenty knocks open at the first try. */
async function measureKnocks(
  { results, quick }: Bench,
  { name, choice, mtu }: Place,
): Promise<void> {
  await Stage.with(async (stage) => {
    const { pair } = stage;
    await setMtu(pair, mtu ?? "1500");
    // Where it runs, the frames' making would stand still.
    const pin = "for pid in $(ip netns pids $0); do taskset -acp 0 $pid; done";
    await must(["sh", "-c", pin, pair.client]);
    const frames = await startFrames(pair);
    const { frame } = frames;
    await GuardedServer.with(stage, async (server) => {
      let perSecond = 0;
      for (let halving = 0; halving <= HALVINGS; halving++) {
        await frames.ask({ do: "flood", frame, perSecond });
        await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
        const [start, before] = [performance.now(), await receivedFrames(pair)];
        const opened = await knockAll(
          stage,
          ONE_TRY_MS,
          (source) => [[server.knock(source)]],
        );
        const received = await receivedFrames(pair) - before;
        const ms = performance.now() - start;
        await frames.ask({ do: "stop" });
        const flooded = Math.round(received / ms * 1000);
        results.point(`prefilter_opened_${name}`, flooded, opened.length);
        if (perSecond === 0) {
          results.measure(`prefilter_pps_${name}`, flooded);
        }
        if (opened.length === KNOCKS) {
          results.measure(`prefilter_pps_20_of_20_${name}`, flooded);
          return;
        }
        if (quick) break;
        perSecond = flooded / 2;
      }
      throw new Error(`${name}: no flood under which every knock opens`);
    }, { prefilter: choice });
  });
}

/** Frames made at the client's end, and the script at the server's. */
async function startFrames(pair: Pair) {
  const address = await pair.onServer(["cat", "/sys/class/net/eth0/address"]);
  const frame = frameBytes({
    to: SERVER[4],
    toMac: Uint8Array.fromHex(address.trim().replaceAll(":", "")),
    port: KNOCK_PORT,
    payload: new Uint8Array(216).fill(0xa5),
  }).toHex();
  const start = (netns: string) => {
    // Before all else: no knock is to find a pause.
    const argv = ["chrt", "-f", "1", "taskset", "-c", "1"];
    const talker = new Talker(
      pair.spawn(netns, [...argv, ...script("frames.ts")]),
    );
    return async (order: FramesOrder): Promise<FramesAnswer> => {
      const answer = await talker.ask<FramesAnswer & { error?: string }>(order);
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    };
  };
  const receiver = { ask: start(pair.server) };
  await receiver.ask({ do: "receive" });
  return { frame, receiver, ask: start(pair.client) };
}

/** A backend that drops junk at a place, and nowhere before it. */
async function startPlace(pair: Pair, place: Place): Promise<NftDriver> {
  const nft = new NftDriver(pair, `--prefilter=${place.choice}`);
  await nft.apply(["tcp/22"]);
  const gate = { ports: [KNOCK_PORT], tags: ["00112233445566ff"] };
  await nft.take({ do: "gate", gate: place.name === "off" ? null : gate });
  const { kind, interfaces } = await nft.take({ do: "prefilter" }) as {
    kind: string;
    interfaces: string[];
  };
  const shown = [kind, ...interfaces].join(" ");
  if (shown !== place.shown) throw new Error(`${place.name}: it is ${shown}`);
  return nft;
}

async function dropped(nft: NftDriver): Promise<number> {
  const counters = await nft.take({ do: "counters" });
  return Object.values(counters as Record<string, number>)
    .reduce((sum, count) => sum + count, 0);
}

/** Frames that the server's eth0 has received. */
async function receivedFrames(pair: Pair): Promise<number> {
  const text = await pair.onServer(["cat", "/proc/net/dev"]);
  return Number(/eth0: *\d+ +(\d+)/.exec(text)![1]);
}

async function setMtu(pair: Pair, mtu: string): Promise<void> {
  for (const netns of [pair.client, pair.server]) {
    await pair.exec(netns, ["ip", "link", "set", "eth0", "mtu", mtu]);
  }
}
