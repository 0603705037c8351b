/** From the packet until the connection: the peers, timed as this project is. */

import { residentMb } from "../guarded.ts";
import {
  FWKNOPD_PAUSE_MS,
  type Hearing,
  startFwknopd,
} from "../peers/fwknopd.ts";
import { restore } from "../peers/iptables.ts";
import { startKnockd } from "../peers/knockd.ts";
import { startOpenme } from "../peers/openme.ts";
import { startOpenspa } from "../peers/openspa.ts";
import type { Peer } from "../peers/peer.ts";
import { countInterleaved } from "./sequence.ts";
import { expectAll, SERVICE_PORT, Stage } from "../stage.ts";
import { clientAddress } from "../prober/orders.ts";
import type { Step } from "../step.ts";

const ROUNDS = 100;
const QUICK_ROUNDS = 15;
const FILLED_FROM = 0x40000;
/** It forks iptables for each, some milliseconds long. */
const KNOCKD_SETTLE_MS = 5000;

export const fwknopd: Step = {
  name: "fwknopd",
  measures: [],
  peers: [
    "fwknopd_udp_open_ms_median",
    "fwknopd_pcap_open_ms_median",
    "fwknopd_udp_open_ms_median_1k",
    "fwknopd_udp_open_ms_median_5k",
    "fwknopd_rss_mb",
  ],
  programs: ["fwknopd", "iptables-restore"],
  inNamespaces: true,

  async run({ results, quick, folder }) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const time = (hearing: Hearing, name: string, rules: readonly string[]) =>
      Stage.with(async (stage) => {
        const daemon = await startFwknopd(stage, folder, hearing);
        if (rules.length > 0) await restore(stage, rules);
        const openings = await stage.timeOpenings(
          rounds,
          (source) => [daemon.knock(source)],
          FWKNOPD_PAUSE_MS,
        );
        expectAll(openings, rounds);
        results.timings("peers", name, openings.ms);
        if (hearing === "pcap") {
          results.peer("fwknopd_rss_mb", residentMb(daemon.pid));
        }
      });
    await time("udp", "fwknopd_udp_open_ms_median", []);
    await time("pcap", "fwknopd_pcap_open_ms_median", []);
    const grants = (count: number) => openRules("FWKNOP_INPUT", count);
    await time("udp", "fwknopd_udp_open_ms_median_1k", grants(1000));
    await time("udp", "fwknopd_udp_open_ms_median_5k", grants(5000));
  },
};

/** Rules as fwknopd makes them, for so many clients. */
function openRules(chain: string, count: number): string[] {
  const untilS = Math.floor(Date.now() / 1000) + 7200;
  return Array.from(
    { length: count },
    (_, index) =>
      `-A ${chain} -s ${clientAddress(FILLED_FROM + index)} -p tcp ` +
      `--dport ${SERVICE_PORT} -m comment --comment _exp_${untilS} -j ACCEPT`,
  );
}

export const knockd: Step = {
  name: "knockd",
  measures: [],
  peers: [
    "knockd_open_ms_median",
    "knockd_open_ms_median_1k",
    "knockd_open_ms_median_5k",
    "knockd_rss_mb",
    "knockd_interleaved_open",
  ],
  programs: ["knockd", "iptables-restore"],
  inNamespaces: true,

  async run({ results, quick, folder }) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const time = (name: string, rules: readonly string[]) =>
      Stage.with(async (stage) => {
        const { pid, knocks } = await startKnockd(stage, folder);
        if (rules.length > 0) await restore(stage, rules);
        const openings = await stage.timeOpenings(rounds, () => knocks, 5);
        expectAll(openings, rounds);
        results.timings("peers", name, openings.ms);
        if (rules.length > 0) return;
        results.peer("knockd_rss_mb", residentMb(pid));
        results.peer(
          "knockd_interleaved_open",
          await countInterleaved(stage, KNOCKD_SETTLE_MS),
        );
      });
    await time("knockd_open_ms_median", []);
    await time("knockd_open_ms_median_1k", openRules("INPUT", 1000));
    await time("knockd_open_ms_median_5k", openRules("INPUT", 5000));
  },
};

/** Peers without a package of Debian's: taken where their programs are. */
export const openme = builtPeer("openme", startOpenme);
export const openspa = builtPeer("openspa", startOpenspa);

function builtPeer(
  name: string,
  start: (stage: Stage, folder: string) => Promise<Peer>,
): Step {
  return {
    name,
    measures: [],
    peers: [`${name}_open_ms_median`, `${name}_rss_mb`],
    programs: [name, "iptables-restore"],
    inNamespaces: true,

    run: ({ results, quick, folder }) =>
      Stage.with(async (stage) => {
        const rounds = quick ? QUICK_ROUNDS : ROUNDS;
        const { pid, knock } = await start(stage, folder);
        const openings = await stage.timeOpenings(
          rounds,
          (source) => [knock(source)],
          BUILT_PAUSE_MS,
        );
        expectAll(openings, rounds);
        results.timings("peers", `${name}_open_ms_median`, openings.ms);
        results.peer(`${name}_rss_mb`, residentMb(pid));
      }),
  };
}

const BUILT_PAUSE_MS = 5;
