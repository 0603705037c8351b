/**
 * `knock status --watch`: a picture that is painted over each second on a
 * terminal, and a line for each change elsewhere.
 * @module
 */

import type { Runtime } from "../../../runtime/runtime.ts";
import { escapeUnsafe, formatJson } from "../../../values/text.ts";
import {
  describeServer,
  describeStatus,
  type OpenGrant,
  type Status,
} from "./text.ts";

/** Interval between looks. */
const LOOK_MS = 1000;

// Terminal sequences, ECMA-48 and xterm: the other screen without a cursor and
// without lines that are broken, and back.
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
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
      const text = show(manner, status, before, runtime.nowMs());
      if (manner === "screen") runtime.paint("out", text);
      else if (text !== "") runtime.out(text);
      before = status;
      await runtime.sleep(LOOK_MS, stop.signal);
    }
  } finally {
    if (manner === "screen") runtime.paint("out", LEAVE);
    for (const signal of signals) signal.stop();
  }
}

function show(
  manner: Manner,
  status: Status,
  before: Status | null,
  nowMs: number,
): string {
  switch (manner) {
    case "json":
      return formatJson(status) + "\n";
    case "screen":
      return paint(status, nowMs);
    case "lines":
      return changes(status, before).map((line) =>
        `${new Date(nowMs).toISOString()} ${escapeUnsafe(line)}\n`
      ).join("");
  }
}

/** The whole picture in one write, so that nothing flickers. */
function paint(status: Status, nowMs: number): string {
  const head = `${new Date(nowMs).toISOString().slice(0, 19)}Z` +
    "  Ctrl-C ends";
  const lines = [head, "", ...describeStatus(status).trimEnd().split("\n")];
  return HOME +
    lines.map((line) => escapeUnsafe(line) + CLEAR_LINE).join(NEXT_LINE) +
    CLEAR_BELOW;
}

/** Lines about changes since the last look; at the first, about everything. */
export function changes(status: Status, before: Status | null): string[] {
  const lines: string[] = [];
  const server = describeServer(status.server);
  if (!before || server !== describeServer(before.server)) lines.push(server);
  const old = new Map(before?.grants.map((grant) => [keyOf(grant), grant]));
  for (const grant of status.grants) {
    const known = old.get(keyOf(grant));
    old.delete(keyOf(grant));
    if (known?.until === grant.until) continue;
    const word = known ? "extended" : "open";
    lines.push(`${word} ${keyOf(grant)} until ${grant.until}`);
  }
  for (const key of old.keys()) lines.push(`end ${key}`);
  return lines;
}

function keyOf({ client, address, ports }: OpenGrant): string {
  return `${client} ${address} ${ports}`;
}
