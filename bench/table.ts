/** The figures as a Markdown table, targets beside them. Pure. */

import type { Report } from "./results.ts";
import { TARGETS } from "./targets.ts";

/** The report for people. */
export function formatTable(report: Report): string {
  const figures = { ...report.measures, ...report.peers };
  const show = (name: string) => {
    const value = figures[name];
    return value == null ? "—" : value.toLocaleString("en");
  };
  const shown = new Set<string>();
  const rows = TARGETS.map((target) => {
    const peers = target.peers.map((name) => {
      shown.add(name);
      return `${name.replace(/_(open_)?ms_median/, "")} ${show(name)}`;
    }).join(", ");
    const value = figures[target.measure];
    const limit = target.limit(figures);
    shown.add(target.measure);
    const mark = value == null || limit === null
      ? ""
      : (target.atMost ? value <= limit : value >= limit)
      ? "met"
      : "**missed**";
    return `| ${target.what} | ${target.text} | ${show(target.measure)} | ` +
      `${mark} | ${peers} |`;
  });
  const others = Object.keys(figures).filter((name) => !shown.has(name));
  const reasons = Object.entries(report.reasons).filter(([, why]) =>
    why !== "not asked for"
  );
  return [
    `# Measured ${report.at.slice(0, 16).replace("T", " ")} UTC` +
    (report.quick ? " (quick: few rounds)" : ""),
    "",
    `${report.machine}.`,
    "",
    ...Object.entries(report.steps ?? {}).map(([name, at]) =>
      `Step ${name}: measured ${at.slice(0, 16).replace("T", " ")} UTC.\n`
    ),
    "| what | target | measured | | peers |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
    "",
    "| further figures | |",
    "| --- | --- |",
    ...others.filter((name) => figures[name] != null)
      .map((name) => `| ${name} | ${show(name)} |`),
    "",
    "| spread | n | p10 | median | p90 |",
    "| --- | --- | --- | --- | --- |",
    ...Object.entries(report.spread).map(([name, { n, p10, median, p90 }]) =>
      `| ${name} | ${n} | ${p10} | ${median} | ${p90} |`
    ),
    ...reasons.length === 0 ? [] : [
      "",
      "Not taken:",
      "",
      ...reasons.map(([name, why]) => `- ${name}: ${why.split("\n")[0]}`),
    ],
    "",
  ].join("\n");
}
