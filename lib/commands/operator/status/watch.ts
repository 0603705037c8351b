/**
 * `knock status --watch`: a picture that is painted over each second on a
 * terminal, and a line for each change elsewhere.
 * @module
 */

import type { Runtime } from "../../../runtime/runtime.ts";
import { escapeUnsafe, formatJson, wrapLine } from "../../../values/text.ts";
import {
  describeEvent,
  type Status,
  statusJson,
} from "../../../server/report/status.ts";
import { formatLocal } from "../../../values/time.ts";
import { formatPortRange } from "../../../values/ports.ts";
import { type Page, pageOf } from "../../command.ts";
import { counterLines, describeServer, grantLines, headLines } from "./text.ts";

/** Interval between looks. */
const LOOK_MS = 1000;

// Terminal sequences, ECMA-48 and xterm: the other screen without a cursor and
// without lines that are broken, and back.
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
/** Before a line: behind one of full width it would take the last character. */
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";
/** Unlike a newline it does not scroll at the bottom. */
const NEXT_LINE = "\x1b[E";

/** Form in which a watch shows the status. */
type Manner = "screen" | "lines" | "json";

/** Shows the status each second until it is stopped. */
export async function watch(
  runtime: Runtime,
  manner: Manner,
  look: () => Promise<Status>,
  stop: AbortSignal,
): Promise<void> {
  let before: Status | null = null;
  if (manner === "screen") runtime.paint("out", ENTER);
  try {
    while (!stop.aborted) {
      const status = await look();
      const text = show(runtime, manner, status, before);
      const isRead = manner === "screen"
        ? runtime.paint("out", text)
        : text === "" || runtime.out(text);
      if (!isRead) return;
      before = status;
      await runtime.sleep(LOOK_MS, stop);
    }
  } finally {
    if (manner === "screen") runtime.paint("out", LEAVE);
  }
}

function show(
  runtime: Runtime,
  manner: Manner,
  status: Status,
  before: Status | null,
): string {
  switch (manner) {
    case "json":
      return formatJson(statusJson(status)) + "\n";
    case "screen": {
      const lines = screenLines(status, pageOf(runtime), runtime.rows());
      // The whole picture in one write, so that nothing flickers.
      return HOME + lines.map((line) => CLEAR_LINE + line).join(NEXT_LINE) +
        CLEAR_BELOW;
    }
    case "lines": {
      const now = new Date(status.nowMs).toISOString();
      return changes(status, before)
        .map((line) => `${now} ${escapeUnsafe(line)}\n`).join("");
    }
  }
}

/** Changes since the last look, or all there is at the first. */
export function changes(status: Status, before: Status | null): string[] {
  const lines: string[] = [];
  const server = describeServer(status.server, status.nowMs, false);
  if (!before || server !== describeServer(before.server, 0, false)) {
    lines.push(server);
  }
  const old = new Map(before?.grants.map((grant) => [keyOf(grant), grant]));
  for (const grant of status.grants) {
    const known = old.get(keyOf(grant));
    old.delete(keyOf(grant));
    if (known?.untilMs === grant.untilMs) continue;
    const word = known ? "extended" : "open";
    const until = new Date(grant.untilMs).toISOString();
    lines.push(`${word} ${keyOf(grant)} until ${until}`);
  }
  for (const key of old.keys()) lines.push(`end ${key}`);
  return lines;
}

function keyOf({ client, address, ports }: Status["grants"][number]): string {
  return `${client} ${address} ${formatPortRange(ports)}`;
}

// One screen: as much as fits, nothing cut in a word.

/** Lines that counters and events get, if they have as many, however much is open. */
const COUNTERS_LEAST = 5;
const EVENTS_LEAST = 4;

/** Lines of a terminal with so many rows. */
function screenLines(
  status: Status,
  page: Page,
  rows: number,
): string[] {
  const { paint, columns } = page;
  const { nowMs, grants } = status;
  const clock = formatLocal(nowMs, nowMs);
  const hint = "Ctrl-C ends";
  const gap = Math.max(columns - clock.length - hint.length, 2);
  const head = [
    paint("dim", clock + " ".repeat(gap) + hint),
    ...headLines(status, page),
    "",
  ];
  const open = grantLines(status, page);
  const counters = counterLines(status, page);
  const events = status.events.map((event) => eventLines(event, nowMs, page));
  const eventCount = events.flat().length;
  // A blank line stands before the counters and the events.
  let room = rows - head.length;
  const counterRoom = counters.length > 0
    ? Math.min(counters.length, COUNTERS_LEAST) + 1
    : 0;
  const eventRoom = eventCount > 0 ? Math.min(eventCount, EVENTS_LEAST) + 1 : 0;
  const openShown = fit(open, Math.max(room - counterRoom - eventRoom, 2), (
    left,
  ) => `… and ${left} more of ${grants.length} grants`);
  room -= openShown.length;
  const countersShown = counters.length === 0 || room < 2 ? [] : [
    "",
    ...fit(
      counters,
      room - 1 - eventRoom,
      (left) => `… and ${left} more counters: knock status`,
    ),
  ];
  room -= countersShown.length;
  const eventsShown: string[] = [];
  for (const lines of events.toReversed()) {
    if (eventsShown.length + lines.length + 1 > room) break;
    eventsShown.unshift(...lines);
  }
  if (eventsShown.length > 0) eventsShown.unshift("");
  return [...head, ...openShown, ...countersShown, ...eventsShown]
    .slice(0, rows);
}

/** The first of some lines, and how many are left, in so many rows. */
function fit(
  lines: readonly string[],
  rows: number,
  more: (left: number) => string,
): string[] {
  if (lines.length <= rows) return [...lines];
  const shown = Math.max(rows - 1, 0);
  return [...lines.slice(0, shown), more(lines.length - shown)];
}

function eventLines(
  event: Status["events"][number],
  nowMs: number,
  { columns, paint }: Page,
): string[] {
  const line = `${formatLocal(event.atMs, nowMs)}  ${describeEvent(event)}`;
  const style = event.event === "failed"
    ? "red"
    : event.event === "refused"
    ? "yellow"
    : "dim";
  return wrapLine(line, columns, "          ")
    .map((part) => paint(style, part));
}
