import { loadNamed } from "../../config/files/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { describeEvent } from "../../server/report/status.ts";
import type {
  Event,
  EventName,
  HistoryQuery,
} from "../../server/state/history.ts";
import { openExistingStore, type Store } from "../../server/state/store.ts";
import { parsePortRange } from "../../values/ports.ts";
import {
  escapeUnsafe,
  formatJson,
  type Paint,
  wrapLine,
} from "../../values/text.ts";
import { UsageError } from "../../values/errors.ts";
import { formatLocal, formatSince } from "../../values/time.ts";
import {
  type Page,
  pageOf,
  parseOptions,
  printPainted,
  readDuration,
  takePositionals,
  untilStopped,
} from "../command.ts";
import { findClient } from "../enrol/list.ts";

export const help = `Usage:
    knock log [--since DURATION] [--client NAME] [-n N] [--follow] [--json]
              [--config FILE]

Options:
        --since DURATION    Only what happened within this time, such as 8h.
        --client NAME       Only what this client did.
    -n, --lines N           Only the latest N events.
    -f, --follow            Print further events as they happen, until Ctrl-C,
                            which ends it with 0.
        --json              Print one JSON object a line.
    -c, --config FILE       The configuration; KNOCK_CONFIG names it too.

Shows who opened what, and what was refused and why: in local time on a
terminal, in UTC elsewhere. Packets that are not authentic are counted, not
listed: see \`knock status\`.

Example:
    $ knock log --since 1d --client alice | cat
    2026-11-21T14:04:40.120Z open alice 203.0.113.9 tcp/22 for 30s
    2026-11-21T14:05:10.731Z end alice 203.0.113.9 tcp/22
`;

/** Beginning of the names that port sequences have as clients. */
const BY_SEQUENCE = "sequence ";

/** Interval between looks for further events, milliseconds. */
const LOOK_MS = 250;
/** Most events that are read at a time. */
const MAX_LINES = 1_000_000;

/** Runs `knock log`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const client = options.value("client");
  const seconds = readDuration(options, "since") ?? null;
  const limit = readLines(options.value("lines"));
  const follows = options.flag("follow");
  const config = loadNamed(runtime, options.value("config"));
  const json = options.flag("json");
  const print = (events: readonly Event[]) => {
    const page = pageOf(runtime);
    const lines = events.map((event) =>
      json ? eventJson(event) : formatEvent(event, runtime.nowMs(), page)
    );
    return lines.length === 0 || printPainted(runtime, lines);
  };
  const query: HistoryQuery = {
    ...(seconds !== null && { sinceMs: runtime.nowMs() - seconds * 1000 }),
    ...(client !== undefined && { client }),
  };
  let store: Store | null = null;
  try {
    store = await openExistingStore(runtime, config.state);
    const events = store?.history.find({
      ...query,
      ...limit !== null && { limit },
    }) ?? [];
    print(events);
    if (events.length === 0) {
      // Who was removed may still be in the log; who is in neither is a slip.
      const isClient = client !== undefined && !client.startsWith(BY_SEQUENCE);
      if (isClient) findClient(config, client);
      if (!json && !follows) runtime.err("nothing is in the log\n");
    }
    if (follows) {
      let afterId = events.at(-1)?.id ?? store?.history.lastId() ?? 0;
      await untilStopped(runtime, async (stop) => {
        while (true) {
          await runtime.sleep(LOOK_MS, stop);
          if (stop.aborted) return;
          store ??= await openExistingStore(runtime, config.state);
          const further = store?.history.find({ ...query, afterId }) ?? [];
          // False: the reader is gone.
          if (!print(further)) return;
          afterId = further.at(-1)?.id ?? afterId;
        }
      });
    }
    return 0;
  } finally {
    store?.close();
  }
}

function readLines(words: string | undefined): number | null {
  if (words === undefined) return null;
  const count = /^\d{1,7}$/.test(words) ? Number(words) : 0;
  if (count >= 1 && count <= MAX_LINES) return count;
  throw new UsageError(`--lines must be 1 to ${MAX_LINES}, got "${words}"`);
}

/** An event for people, made safe: a client chooses the name of the command that it wants run. */
function formatEvent(
  event: Event,
  nowMs: number,
  { isTerminal, columns, paint }: Page,
): string {
  const { atMs } = event;
  const words = describeEvent(event);
  if (!isTerminal) {
    return escapeUnsafe(`${new Date(atMs).toISOString()} ${words}`);
  }
  const since = `${formatSince(nowMs - atMs)} ago`.padStart(11);
  const time = `${formatLocal(atMs, nowMs)} ${since}  `;
  const style = STYLES[event.event];
  return wrapLine(words, columns - time.length)
    .map((part, index) =>
      (index === 0 ? time : " ".repeat(time.length)) +
      (style ? paint(style, part) : part)
    ).join("\n");
}

const STYLES: Partial<Record<EventName, Parameters<Paint>[0]>> = {
  failed: "red",
  refused: "yellow",
  open: "green",
};

/** An event as one JSON object: docs/json.md, "log". */
function eventJson(event: Event): string {
  const { atMs, client, address, ports, seconds, dialect, reason } = event;
  // The history has a command's name in the place of ports.
  const list = ports === "" ? [] : ports.split(",");
  const isCommand = event.event === "run" ||
    list.some((range) => parsePortRange(range) === null);
  return formatJson({
    time: new Date(atMs).toISOString(),
    event: event.event,
    client,
    address,
    ports: isCommand ? [] : list,
    command: isCommand ? ports : null,
    seconds,
    dialect: dialect || null,
    reason: reason || null,
  });
}
