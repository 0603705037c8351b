/**
 * `knock status --watch`: a picture that is painted over each second on a
 * terminal, and a line for each change elsewhere.
 * @module
 */

import type { Runtime } from "../../../runtime/runtime.ts";
import { escapeUnsafe, formatJson } from "../../../values/text.ts";
import { type Status, statusJson } from "../../../server/report/status.ts";
import { formatPortRange } from "../../../values/ports.ts";
import { paintFor } from "../../command.ts";
import { screenLines } from "./screen.ts";
import { describeServer, PIPE } from "./text.ts";

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
export type Manner = "screen" | "lines" | "json";

/** Shows the status each second until SIGINT or SIGTERM. */
export async function watch(
  runtime: Runtime,
  manner: Manner,
  look: () => Promise<Status>,
): Promise<void> {
  const stop = new AbortController();
  const signals = (["SIGINT", "SIGTERM"] as const).map((name) =>
    runtime.onSignal(name, () => stop.abort())
  );
  let before: Status | null = null;
  if (manner === "screen") runtime.paint("out", ENTER);
  try {
    while (!stop.signal.aborted) {
      const status = await look();
      const text = show(runtime, manner, status, before);
      const isRead = manner === "screen"
        ? runtime.paint("out", text)
        : text === "" || runtime.out(text);
      if (!isRead) return;
      before = status;
      await runtime.sleep(LOOK_MS, stop.signal);
    }
  } finally {
    if (manner === "screen") runtime.paint("out", LEAVE);
    for (const signal of signals) signal.stop();
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
    case "screen":
      return paintScreen(runtime, status);
    case "lines": {
      const now = new Date(status.nowMs).toISOString();
      return changes(status, before)
        .map((line) => `${now} ${escapeUnsafe(line)}\n`).join("");
    }
  }
}

/** The whole picture in one write, so that nothing flickers. */
function paintScreen(runtime: Runtime, status: Status): string {
  const page = {
    isTerminal: true,
    columns: runtime.columns(),
    paint: paintFor(runtime, "out"),
  };
  const lines = screenLines(status, page, runtime.rows());
  return HOME + lines.map((line) => CLEAR_LINE + line).join(NEXT_LINE) +
    CLEAR_BELOW;
}

/** Changes since the last look, or all there is at the first. */
export function changes(status: Status, before: Status | null): string[] {
  const lines: string[] = [];
  const server = describeServer(status.server, status.nowMs, PIPE);
  if (!before || server !== describeServer(before.server, 0, PIPE)) {
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
