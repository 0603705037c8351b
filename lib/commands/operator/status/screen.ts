/** One screen of `knock status --watch`: as much as fits, nothing cut in a word. Pure. */

import { describeEvent, type Status } from "../../../server/report/status.ts";
import { wrapLine } from "../../../values/text.ts";
import { formatLocal } from "../../../values/time.ts";
import { counterLines, grantLines, headLines, type Page } from "./text.ts";

/** Lines that counters and events get, if they have as many, however much is open. */
const COUNTERS_LEAST = 5;
const EVENTS_LEAST = 4;

/** Lines of a terminal with so many rows. */
export function screenLines(
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
