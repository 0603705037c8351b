/** The charts of `docs/performance.md`, from a report. Pure. */

import { type Bar, drawBars, drawLines } from "./plot.ts";
import type { Report } from "./results.ts";

const OPENINGS: readonly [figure: string, name: string][] = [
  ["sequence_open_ms_median", "knock, kernel sequence"],
  ["spa_open_ms_median", "knock"],
  ["fwknop_dialect_open_ms_median", "knock, a packet of fwknop's"],
  ["spa_open_ms_median_1k", "knock, 1,000 open grants"],
  ["spa_open_ms_median_5k", "knock, 5,000 open grants"],
  ["spa_open_ms_median_100k", "knock, 100,000 open grants"],
  ["fwknopd_udp_open_ms_median", "fwknopd, UDP server"],
  ["knockd_open_ms_median", "knockd, sequence"],
  ["fwknopd_pcap_open_ms_median", "fwknopd, its default"],
  ["fwknopd_udp_open_ms_median_1k", "fwknopd, UDP server, 1,000 grants"],
  ["fwknopd_udp_open_ms_median_5k", "fwknopd, UDP server, 5,000 grants"],
  ["knockd_open_ms_median_1k", "knockd, 1,000 grants"],
  ["knockd_open_ms_median_5k", "knockd, 5,000 grants"],
];

const FLOODS: readonly [series: string, name: string][] = [
  ["flood_opened", "knock"],
  ["flood_ungated_opened", "knock, no kernel gate, 3 tries"],
  ["sequence_flood_opened", "knock, kernel sequence"],
  ["knockd_flood_opened", "knockd, sequence"],
  ["fwknopd_udp_flood_opened", "fwknopd, UDP server"],
  ["fwknopd_pcap_flood_opened", "fwknopd, its default"],
];

/** SVG by file name; those whose figures are all there. */
export function drawPlots(report: Report): Record<string, string> {
  const { measures, peers, series } = report;
  const plots: Record<string, string> = {};
  const bars = OPENINGS.flatMap(([figure, name]): Bar[] => {
    const value = measures[figure] ?? peers[figure];
    return value == null ? [] : [{ name, value, own: figure in measures }];
  });
  if (bars.length > 1) {
    plots["performance-open.svg"] = drawBars(
      "From the last packet until a connection succeeds, median",
      "ms",
      bars,
    );
  }
  const floods = FLOODS.flatMap(([key, name]) => {
    const points = series[key];
    return points ? [{ name, points }] : [];
  });
  if (floods.length > 0) {
    plots["performance-flood.svg"] = drawLines(
      "Of 20 valid knocks during a flood, so many open",
      { x: "junk packets a second (logarithmic)", y: "opened", logX: true },
      floods,
    );
  }
  const memory = series["server_rss_mb"];
  if (memory) {
    plots["performance-memory.svg"] = drawLines(
      "The server's memory while grants are opened one by one",
      { x: "open grants", y: "MB" },
      [{ name: "knock, resident memory", points: memory }],
    );
  }
  return plots;
}
