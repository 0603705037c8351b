/** Text of `knock status`, in lines for people. */

import type { PrefilterState } from "../../../firewall/firewall.ts";
import { describeHostFact } from "../../../server/grants/host.ts";
import { shownCounters } from "../../../server/report/counters.ts";
import {
  describeSequences,
  grantRows,
  secondsLeft,
  type ServerFact,
  type Status,
} from "../../../server/report/status.ts";
import { formatTable, plain, wrapLine } from "../../../values/text.ts";
import { formatLeft, formatLocal, formatSince } from "../../../values/time.ts";
import type { Page } from "../../command.ts";

/** The status in lines. */
export function describeStatus(status: Status, page: Page): string[] {
  const counters = counterLines(status, page);
  return [
    ...headLines(status, page),
    ...grantLines(status, page),
    ...counters.length > 0 && page.isTerminal ? [""] : [],
    ...counters,
  ];
}

/** The server, and what keeps its grants from working. */
export function headLines(status: Status, page: Page): string[] {
  const { server, nowMs, droppedByHost, sequences, sniff, fleet, prefilter } =
    status;
  const { paint, columns } = page;
  const warnings = [
    ...prefilter?.problem ? [`warning: prefilter: ${prefilter.problem}`] : [],
    ...droppedByHost.map((fact) => `warning: ${describeHostFact(fact)}`),
    ...sniff?.trouble
      ? [`warning: ${sniff.places.join(", ")} is not heard: ${sniff.trouble}`]
      : [],
    ...fleet && fleet.cutOffSinceMs !== null
      ? [
        `warning: cut off from ${fleet.engine} for ${
          formatSince(nowMs - fleet.cutOffSinceMs)
        }: ${fleet.trouble}`,
      ]
      : [],
    ...describeSequences(sequences),
  ];
  const filtered = describePrefilter(prefilter);
  const head = describeServer(server, nowMs, page.isTerminal) +
    (filtered ? `, prefilter ${filtered}` : "");
  return [
    ...wrapLine(head, columns, "  ")
      .map((line) => paint(server ? "bold" : "red", line)),
    ...warnings.flatMap((line) => wrapLine(line, columns, "  "))
      .map((line) => paint("yellow", line)),
  ];
}

/** Line about the server: since when it is running, how and where. */
export function describeServer(
  server: ServerFact | null,
  nowMs: number,
  isTerminal: boolean,
): string {
  if (!server) return "server not running";
  const { sinceMs, backend, listen } = server;
  const since = isTerminal
    ? `${formatLocal(sinceMs, nowMs)} (${formatSince(nowMs - sinceMs)})`
    : new Date(sinceMs).toISOString();
  return `server running since ${since}: ${backend}, udp ${listen.join(", ")}`;
}

/** Phrase on where junk is dropped: "xdp at eth0 (native)"; null where there is no prefilter. */
export function describePrefilter(
  prefilter: PrefilterState | null,
): string | null {
  if (!prefilter || prefilter.kind === "off") return null;
  const { kind, interfaces } = prefilter;
  return interfaces.length > 0 ? `${kind} at ${interfaces.join(", ")}` : kind;
}

/** Open grants as a table. */
export function grantLines(
  { grants, nowMs }: Pick<Status, "grants" | "nowMs">,
  { columns, paint }: Page,
): string[] {
  if (grants.length === 0) return ["nothing is open"];
  const rows = grantRows(grants);
  const hasMarks = rows.some(({ marks }) => marks.length > 0);
  const mark = (words: string) => hasMarks ? [words] : [];
  const head = ["CLIENT", "ADDRESS", "LEFT", ...mark(""), "PORTS"];
  const table = formatTable(
    head,
    rows.map((row) => [
      row.client,
      row.address,
      formatLeft(secondsLeft(row, nowMs)),
      ...mark(row.marks.join(" ")),
      row.list,
    ]),
  );
  return table.trimEnd().split("\n").flatMap((line, index) =>
    wrapLine(line, columns, "    ")
      .map((part) => index === 0 ? paint("bold", part) : paint("green", part))
  );
}

/** Counters, one a line, in words; what went wrong first. */
export function counterLines(
  { counters }: Pick<Status, "counters">,
  { columns, paint }: Page,
): string[] {
  const shown = shownCounters(counters);
  const width = Math.max(...shown.map(({ count }) => String(count).length), 5);
  const names = Math.max(...shown.map(({ name }) => name.length), 0);
  return shown.flatMap(({ name, count, meaning }) => {
    const number = String(count).padStart(width);
    const line = `${number}  ${name.padEnd(names)}  ${meaning}`.trimEnd();
    const indent = " ".repeat(width + 4);
    const style = name.startsWith("failed")
      ? "red"
      : /^(refused|kernel)/.test(name)
      ? "yellow"
      : null;
    return wrapLine(line, columns, indent)
      .map((part) => style ? paint(style, part) : plain("dim", part));
  });
}
