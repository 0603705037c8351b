/** Figures, tables and drawings of the bench. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { drawPlots } from "../../bench/plots.ts";
import { mergeStep, Results } from "../../bench/results.ts";
import { round, spreadOf } from "../../bench/statistics.ts";
import { formatTable } from "../../bench/table.ts";

test("spreadOf() gives the median and the tenths", () => {
  assertEquals(spreadOf([]), null);
  const values = Array.from({ length: 101 }, (_, index) => 100 - index);
  assertEquals(spreadOf(values), { n: 101, median: 50, p10: 10, p90: 90 });
});

test("round() keeps three digits, and whole numbers", () => {
  assertEquals([0.12345, 12.345, 1234.5, 80123].map(round), [
    0.123,
    12.3,
    1235,
    80123,
  ]);
});

test("Results: what was promised and not taken is null with a reason", () => {
  const results = new Results();
  const names = ["spa_open_ms_median", "judge_valid_per_s"];
  results.promise("measures", names, "not reached");
  results.promise("peers", ["knockd_open_ms_median"], "not reached");
  results.measure("spa_open_ms_median", 0.8);
  results.measure("judge_valid_per_s", NaN);
  results.explain([...names, "knockd_open_ms_median"], "needs knockd");
  const report = results.report("a machine", "2026-01-01T00:00:00Z", false);
  assertEquals(report.measures, {
    spa_open_ms_median: 0.8,
    judge_valid_per_s: null,
  });
  assertEquals(report.peers, { knockd_open_ms_median: null });
  assertEquals(report.reasons, {
    judge_valid_per_s: "needs knockd",
    knockd_open_ms_median: "needs knockd",
  });
  const table = formatTable(report);
  assert(table.includes("| ≤ 2 ms | 0.8 | met |"), table);
  assert(table.includes("- knockd_open_ms_median: needs knockd"));
});

test("mergeStep() replaces the figures of one step, marked with their time", () => {
  const run = (noted: Record<string, number>, at: string) => {
    const results = new Results();
    for (const kind of ["measures", "peers"] as const) {
      results.promise(kind, [`${kind}_a`, `${kind}_b`, `${kind}_c`], "not run");
    }
    for (const [name, value] of Object.entries(noted)) {
      results[name.startsWith("peers") ? "peer" : "measure"](name, value);
      results.point(`${name}_series`, 1, value);
    }
    return results.report("a machine", at, false);
  };
  const before = run(
    { measures_a: 1, measures_b: 2, peers_a: 3 },
    "2026-01-01",
  );
  const after = run({ measures_b: 5, measures_c: 6, peers_b: 7 }, "2026-01-02");
  const step = {
    name: "step",
    measures: ["measures_a", "measures_b"],
    peers: ["peers_b"],
  };
  const merged = mergeStep(before, after, step);
  // What the step did not take this time is not kept from another time.
  assertEquals(merged.measures, {
    measures_a: null,
    measures_b: 5,
    measures_c: null,
  });
  assertEquals(merged.peers, { peers_a: 3, peers_b: 7, peers_c: null });
  assertEquals(Object.keys(merged.reasons), [
    "measures_c",
    "peers_c",
    "measures_a",
  ]);
  assertEquals(merged.at, "2026-01-01");
  assertEquals(merged.steps, { step: "2026-01-02" });
  assertEquals(merged.series.measures_b_series, [[1, 5]]);
  assert(formatTable(merged).includes("Step step: measured 2026-01-02 UTC."));
});

test("drawPlots() draws what is there, as one SVG each", () => {
  const results = new Results();
  results.measure("spa_open_ms_median", 0.8);
  results.peer("knockd_open_ms_median", 40);
  results.point("server_rss_mb", 0, 70);
  results.point("server_rss_mb", 10_000, 80);
  const plots = drawPlots(results.report("", "", false));
  assertEquals(Object.keys(plots), [
    "performance-open.svg",
    "performance-memory.svg",
  ]);
  for (const svg of Object.values(plots)) {
    assert(svg.startsWith("<svg ") && svg.endsWith("</svg>\n"));
    assert(!svg.includes("NaN"), svg);
  }
});
