import { loadConfig } from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Event } from "../../server/state/history.ts";
import { openExistingStore } from "../../server/state/store.ts";
import { escapeUnsafe, formatJson } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import { parseOptions, readDuration, takePositionals } from "../command.ts";
import { findClient } from "../enrol/list.ts";

export const help = `Usage:
    knock log [--since DURATION] [--client NAME] [--json] [--config FILE]

Options:
        --since DURATION    Only what happened within this time, such as 8h.
        --client NAME       Only what this client did.
        --json              Print one JSON object a line.
    -c, --config FILE       The configuration; KNOCK_CONFIG names it too.

Says who opened what, and what was refused and why. Packets that are not
authentic are counted, not listed: see \`knock status\`.

Example:
    $ knock log --since 1d --client alice
    2026-11-21T14:04:40.120Z open alice 203.0.113.9 tcp/22 for 30s
    2026-11-21T14:05:10.731Z end alice 203.0.113.9 tcp/22
`;

/** Beginning of the name of a source that came by a port sequence. */
const DOOR = "sequence ";

/** Runs `knock log`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const client = options.value("client");
  const seconds = readDuration(options, "since") ?? null;
  const config = loadConfig(
    runtime,
    needConfig(runtime, options.value("config")),
  );
  const store = await openExistingStore(runtime, config.state);
  const json = options.flag("json");
  const nothing = () => {
    // Who was removed may still be in the log; who is in neither is a slip.
    const isClient = client !== undefined && !client.startsWith(DOOR);
    if (isClient) findClient(config, client);
    if (!json) runtime.err("nothing is in the log\n");
    return 0;
  };
  if (!store) return nothing();
  const events = store.history.find({
    ...(seconds !== null && { sinceMs: runtime.nowMs() - seconds * 1000 }),
    ...(client !== undefined && { client }),
  });
  store.close();
  if (events.length === 0) return nothing();
  const write = json ? formatEvent : formatLine;
  runtime.out(events.map((event) => write(event) + "\n").join(""));
  return 0;
}

function formatLine(event: Event): string {
  const { client, address, ports, seconds, reason } = event;
  const words = [
    new Date(event.atMs).toISOString(),
    event.event,
    client,
    address,
    ports,
    seconds > 0 ? `for ${formatDuration(seconds)}` : "",
  ];
  const line = words.filter(Boolean).join(" ") + (reason && `: ${reason}`);
  // A client chooses the name of the command that it wants run.
  return escapeUnsafe(line);
}

function formatEvent({ atMs, ...event }: Event): string {
  return formatJson({ time: new Date(atMs).toISOString(), ...event });
}
