/**
 * The page of numbers: what `knock status` shows, for a browser. One file
 * without scripts, which loads itself again every few seconds.
 * @module
 */

import { parseAddress } from "../../../values/address.ts";
import { escapeUnsafe } from "../../../values/text.ts";
import {
  formatDuration,
  formatLeft,
  formatLocal,
  formatSince,
} from "../../../values/time.ts";
import { describeHostFact } from "../../grants/host.ts";
import { shownCounters } from "../counters.ts";
import {
  describeSequences,
  grantRows,
  secondsLeft,
  type Status,
} from "../status.ts";
import type { HttpAnswer, HttpRequest } from "./http.ts";

/** Seconds until the page loads itself again. */
const REFRESH_SECONDS = 5;

export const MAX_GRANTS = 200;

/** A server's status, and further facts of its page. */
export interface PageFacts {
  readonly status: Status;
  /** Number of open grants, of which the status may have fewer. */
  readonly grantCount: number;
  readonly hostName: string;
  readonly version: string;
}

/**
 * Answers GET / with the page, if the browser was sent to an address, to
 * localhost or to this machine's name. Under any other name it may be a page
 * of somebody else's that has the browser ask here (DNS rebinding).
 */
export function answerPage(
  { header }: Pick<HttpRequest, "header">,
  facts: PageFacts,
): HttpAnswer {
  const [host = ""] = header("host");
  if (!isOwnName(host.replace(/:\d+$/, ""), facts.hostName)) {
    return {
      status: "403 Forbidden",
      headers: { "Content-Type": "text/plain; charset=utf-8" },
      body: "open this page by its address, as http://127.0.0.1:PORT/\n",
    };
  }
  return {
    status: "200 OK",
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy":
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
      "Cache-Control": "no-store",
      "Referrer-Policy": "no-referrer",
      "X-Content-Type-Options": "nosniff",
    },
    body: formatPage(facts),
  };
}

function isOwnName(host: string, hostName: string): boolean {
  const name = host.toLowerCase();
  return name === "localhost" || name === hostName.toLowerCase() ||
    parseAddress(name.replace(/^\[(.*)\]$/, "$1")) !== null;
}

export function formatPage(
  { status, grantCount, hostName, version }: PageFacts,
): string {
  const { server, nowMs, sniff, sequences, droppedByHost } = status;
  const state = server
    ? `running since ${formatLocal(server.sinceMs, nowMs)} (${
      formatSince(nowMs - server.sinceMs)
    })`
    : "not running";
  const about = server
    ? `${server.backend}, udp ${server.listen.join(", ")}`
    : "";
  const warnings = [
    ...droppedByHost.map(describeHostFact),
    ...sniff?.trouble
      ? [`${sniff.places.join(", ")} is not heard: ${sniff.trouble}`]
      : [],
    ...describeSequences(sequences),
  ];
  const zone = /GMT[+-]\d{4}/.exec(new Date(nowMs).toString())?.[0] ?? "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="${REFRESH_SECONDS}">
<title>knock: ${html(hostName)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>knock <small>${html(hostName)}</small></h1>
<p><b class="${server ? "up" : "down"}">${html(state)}</b> ${html(about)}</p>
</header>
${warnings.map((line) => `<p class="warning">${html(line)}</p>\n`).join("")}
<section>
<h2>Open now</h2>
${grantsTable(status, grantCount)}
</section>
<section>
<h2>Counted since the start</h2>
${countersTable(status)}
</section>
<section>
<h2>Last events</h2>
${eventsTable(status)}
</section>
<footer>${html(formatLocal(nowMs, nowMs))} ${
    html(zone)
  }, every ${REFRESH_SECONDS} s &middot; knock ${
    html(version)
  } &middot; <a href="/metrics">/metrics</a></footer>
</body>
</html>
`;
}

function grantsTable({ grants, nowMs }: Status, count: number): string {
  if (grants.length === 0) return "<p>nothing is open</p>";
  const rows = grantRows(grants).map((row) =>
    cells(
      ["", row.client],
      ["", row.address],
      ["number", formatLeft(secondsLeft(row, nowMs))],
      ["", row.list],
      ["mark", row.marks.join(", ")],
    )
  );
  const more = count - grants.length;
  return table(["client", "address", "left", "ports", ""], rows) +
    (more > 0 ? `<p>and ${more} more: knock status</p>` : "");
}

function countersTable({ counters }: Status): string {
  const shown = shownCounters(counters);
  if (shown.length === 0) return "<p>no packet yet</p>";
  return table(
    ["count", "", "meaning"],
    shown.map(({ name, count, meaning }) => {
      const kind = /^(failed|refused|kernel)/.exec(name)?.[0] ?? "";
      return cells(["number", String(count)], [kind, name], ["", meaning]);
    }),
  );
}

function eventsTable({ events, nowMs }: Status): string {
  if (events.length === 0) return "<p>none yet</p>";
  return table(
    ["time", "ago", "event", "client", "address", "ports", ""],
    events.toReversed().map(({ event, atMs, seconds, ...one }) => {
      const lasts = seconds > 0 ? `for ${formatDuration(seconds)}` : "";
      return cells(
        ["", formatLocal(atMs, nowMs)],
        ["number", formatSince(nowMs - atMs)],
        [event, event],
        ["", one.client],
        ["", one.address],
        ["", one.ports.replaceAll(",", ", ")],
        ["", one.reason || lasts],
      );
    }),
  );
}

function table(head: readonly string[], rows: readonly string[]): string {
  const names = head.map((name) => `<th>${html(name)}</th>`).join("");
  return `<div class="table"><table><thead><tr>${names}</tr></thead>\n<tbody>${
    rows.join("\n")
  }</tbody></table></div>`;
}

function cells(
  ...all: readonly (readonly [kind: string, text: string])[]
): string {
  const row = all.map(([kind, text]) =>
    `<td${kind && ` class="${html(kind)}"`}>${html(text)}</td>`
  );
  return `<tr>${row.join("")}</tr>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text in HTML: a client chooses the name of the command that it wants run. */
export function html(text: string): string {
  return escapeUnsafe(text).replace(/[&<>"']/g, (one) => ENTITIES[one]!);
}

const STYLE = `
:root { --back: #fff; --text: #1c2024; --dim: #60646c; --line: #e0e3e7; --good: #18794e; --bad: #ce2c31; --warn: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --back: #15171a; --text: #edeef0; --dim: #a0a5ad; --line: #2e3238; --good: #3dd68c; --bad: #ff9592; --warn: #f2c94c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.4rem; } h1 small { color: var(--dim); font-weight: normal; }
h2 { margin: 1.5rem 0 .3rem; font-size: 1rem; }
header p { margin: .2rem 0; color: var(--dim); } p { margin: .3rem 0; }
.up, .open { color: var(--good); } .down, .failed { color: var(--bad); } .warning, .refused, .kernel { color: var(--warn); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: normal; color: var(--dim); }
th, td { padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { white-space: nowrap; } td.mark { color: var(--dim); }
footer { margin-top: 1.5rem; color: var(--dim); font-size: .85rem; } a { color: inherit; }
`;
