/** Valid knocks during a junk flood: this project's server and its peers. */

import { compileFlood, withFlood } from "../flood.ts";
import {
  GuardedServer,
  KNOCK_HOST,
  SEQUENCE_HITS,
  sequenceKnocks,
} from "../guarded.ts";
import { FWKNOP_PORT } from "../peers/fwknop_packet.ts";
import { type Hearing, startFwknopd } from "../peers/fwknopd.ts";
import { startKnockd } from "../peers/knockd.ts";
import type { Opened, Trigger } from "../prober/orders.ts";
import { SERVICE_PORT, Stage } from "../stage.ts";
import type { Bench, Step } from "../step.ts";

const KNOCKS = 20;
const KNOCK_PORT = 62201;
/** A single knock must open by then. */
const ONE_TRY_MS = 1000;
/** When a client knocks again, and when it gives up. */
const AGAIN_MS = [1000, 3000];
export const THREE_TRIES_MS = 5000;
/** Rates of the series, packets a second; 0: as many as there go. */
const RATES = [1_000, 10_000, 50_000, 100_000, 300_000, 0];
const UNGATED_RATES = [10_000, 50_000, 100_000];
const UNGATED = 50_000;
const SEQUENCE_RATES = [1_000, 10_000, 100_000];
const PEER_RATES: Readonly<Record<Hearing, readonly number[]>> = {
  udp: [1_000, 10_000, 50_000],
  pcap: [500, 2_000, 10_000],
};

export const flood: Step = {
  name: "flood",
  measures: [
    "flood_pps",
    "flood_opened_of_20",
    "flood_open_ms_median",
    "server_rss_mb_flood",
  ],
  peers: [],
  programs: ["gcc"],
  inNamespaces: true,

  run: ({ results, folder, quick }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const binary = compileFlood(folder);
        for (const perSecond of quick ? [0] : RATES) {
          const { result, flooded } = await withFlood(
            stage,
            binary,
            { port: KNOCK_PORT, perSecond },
            () =>
              knockAll(stage, ONE_TRY_MS, (source) => [[server.knock(source)]]),
          );
          results.point("flood_opened", flooded.perSecond, result.length);
          if (perSecond !== 0) continue;
          results.measure("flood_pps", flooded.perSecond);
          results.measure("flood_opened_of_20", result.length);
          results.timings("measures", "flood_open_ms_median", result);
        }
        results.measure("server_rss_mb_flood", server.residentMb());
      })
    ),
};

export const ungated: Step = {
  name: "ungated",
  measures: [
    "flood_ungated_pps",
    "flood_ungated_opened_of_20",
    "flood_ungated_one_try_opened_of_20",
    "server_rss_mb_flood_ungated",
  ],
  peers: [],
  programs: ["gcc"],
  inNamespaces: true,

  run: ({ results, folder }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const binary = compileFlood(folder);
        for (const perSecond of UNGATED_RATES) {
          const { result, flooded } = await withFlood(
            stage,
            binary,
            { port: KNOCK_PORT, perSecond },
            () => knockThrice(stage, server),
          );
          results.point(
            "flood_ungated_opened",
            flooded.perSecond,
            result.length,
          );
          if (perSecond !== UNGATED) continue;
          results.measure("flood_ungated_pps", flooded.perSecond);
          results.measure("flood_ungated_opened_of_20", result.length);
          results.measure(
            "flood_ungated_one_try_opened_of_20",
            result.filter((ms) => ms < AGAIN_MS[0]!).length,
          );
        }
        results.measure("server_rss_mb_flood_ungated", server.residentMb());
      }, { secondDialect: true })
    ),
};

export const peerFlood: Step = {
  name: "peer-flood",
  measures: [],
  peers: [
    "fwknopd_udp_flood_opened_of_20_at_10k",
    "fwknopd_pcap_flood_opened_of_20_at_2k",
  ],
  programs: ["gcc", "fwknopd"],
  inNamespaces: true,

  async run(bench) {
    const udp = await floodFwknopd(bench, "udp");
    const pcap = await floodFwknopd(bench, "pcap");
    bench.results.peer("fwknopd_udp_flood_opened_of_20_at_10k", udp[10_000]!);
    bench.results.peer("fwknopd_pcap_flood_opened_of_20_at_2k", pcap[2_000]!);
  },
};

/** Sequences by UDP, their first port flooded: each packet of junk is a first hit. */
export const sequenceFlood: Step = {
  name: "sequence-flood",
  measures: ["sequence_flood_opened_of_20_at_10k"],
  peers: ["knockd_flood_opened_of_20_at_10k"],
  programs: ["gcc", "knockd"],
  inNamespaces: true,

  async run({ folder, results }) {
    const binary = compileFlood(folder);
    const measure = async (
      stage: Stage,
      series: string,
      knocks: readonly Trigger[],
    ) => {
      const opened: Record<number, number> = {};
      for (const perSecond of SEQUENCE_RATES) {
        const { result, flooded } = await withFlood(
          stage,
          binary,
          { port: SEQUENCE_HITS[0]!, perSecond },
          () => knockAll(stage, ONE_TRY_MS, () => [knocks]),
        );
        opened[perSecond] = result.length;
        results.point(series, flooded.perSecond, result.length);
      }
      return opened[10_000]!;
    };
    const own = await Stage.with((stage) =>
      GuardedServer.with(
        stage,
        () => measure(stage, "sequence_flood_opened", sequenceKnocks("udp")),
        { sequence: "udp" },
      )
    );
    results.measure("sequence_flood_opened_of_20_at_10k", own);
    const knockd = await Stage.with(async (stage) => {
      const { knocks } = await startKnockd(stage, folder, "udp");
      return await measure(stage, "knockd_flood_opened", knocks);
    });
    results.peer("knockd_flood_opened_of_20_at_10k", knockd);
  },
};

function floodFwknopd(
  { folder, results }: Bench,
  hearing: Hearing,
): Promise<Record<number, number>> {
  return Stage.with(async (stage) => {
    const binary = compileFlood(folder);
    const daemon = await startFwknopd(stage, folder, hearing);
    const opened: Record<number, number> = {};
    for (const perSecond of PEER_RATES[hearing]) {
      const { result, flooded } = await withFlood(
        stage,
        binary,
        { port: FWKNOP_PORT, perSecond },
        () => knockAll(stage, ONE_TRY_MS, (source) => [[daemon.knock(source)]]),
      );
      opened[perSecond] = result.length;
      results.point(
        `fwknopd_${hearing}_flood_opened`,
        flooded.perSecond,
        result.length,
      );
    }
    return opened;
  });
}

/** As {@linkcode knockAll}, with a client's three packets each. */
export function knockThrice(
  stage: Stage,
  server: GuardedServer,
): Promise<number[]> {
  return knockAll(
    stage,
    THREE_TRIES_MS,
    (source) => Array.from({ length: 3 }, () => [server.knock(source)]),
  );
}

/**
 * Knocks for twenty addresses, one after the other, from each of them or all
 * from one; the times of those that opened.
 */
export async function knockAll(
  stage: Stage,
  timeoutMs: number,
  prepare: (source: string) => readonly (readonly Trigger[])[],
  from?: string,
  knocks = KNOCKS,
): Promise<number[]> {
  const found: number[] = [];
  for (let knock = 0; knock < knocks; knock++) {
    const source = stage.freshAddress();
    const [triggers, ...retries] = prepare(source);
    const { wasShut, ms } = await stage.ask<Opened>({
      do: "open",
      source,
      ...(from !== undefined && { from }),
      target: KNOCK_HOST,
      port: SERVICE_PORT,
      triggers: triggers!,
      timeoutMs,
      ...(retries.length > 0 && { retries, againMs: AGAIN_MS }),
    });
    if (wasShut && ms !== null) found.push(ms);
  }
  return found;
}
