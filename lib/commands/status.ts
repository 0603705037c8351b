import { loadConfig } from "../config/load.ts";
import { needConfig } from "../config/places.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type Entry } from "../server/ledger.ts";
import type { ServerFact } from "../server/server.ts";
import { openExistingStore } from "../server/store.ts";
import { formatPortRange } from "../values/ports.ts";
import { parseOptions, takePositionals } from "./command.ts";
import { formatTable } from "./terminal.ts";

export const help = `Usage:
    knock status [--json] [--config FILE]

Options:
    --json           Print one JSON object.
    --config FILE    The configuration; KNOCK_CONFIG names it too.

Says whether the server runs, what is open now, for whom, and how long still;
and what came in, counted. The exit status is 0 when the server runs, else 1.

Example:
    $ knock status
    the server runs since 2026-11-21 14:00:02: nft (libnftables), udp [::]:62201
    CLIENT  ADDRESS      PORTS   LEFT
    alice   203.0.113.9  tcp/22  27s
`;

/** What `--json` prints. */
interface Status {
  readonly running: boolean;
  readonly server: ServerFact | null;
  readonly grants: readonly {
    readonly client: string;
    readonly address: string;
    readonly ports: string;
    readonly until: string;
    readonly seconds_left: number;
  }[];
  readonly counters: Readonly<Record<string, number>>;
}

/** Runs `knock status`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, {
    flags: { json: "" },
    values: { config: "" },
  });
  takePositionals(options, []);
  const config = loadConfig(
    runtime,
    needConfig(runtime, options.value("config")),
  );
  const status = await readStatus(runtime, config.state);
  runtime.out(
    options.flag("json")
      ? JSON.stringify(status, null, 2) + "\n"
      : describe(status),
  );
  return status.running ? 0 : 1;
}

async function readStatus(runtime: Runtime, folder: string): Promise<Status> {
  const store = await openExistingStore(runtime, folder);
  if (!store) return { running: false, server: null, grants: [], counters: {} };
  try {
    const nowMs = runtime.nowMs();
    const server = (store.fact("server") ?? null) as ServerFact | null;
    const running = server !== null &&
      runtime.signalProcess(server.pid, "test");
    return {
      running,
      server: running ? server : null,
      grants: store.ledger.live(nowMs).map((entry) => row(entry, nowMs)),
      counters: (store.fact("counters") ?? {}) as Record<string, number>,
    };
  } finally {
    store.close();
  }
}

function row({ client, address, ports, untilMs }: Entry, nowMs: number) {
  return {
    client,
    address,
    ports: formatPortRange(ports),
    until: new Date(untilMs).toISOString(),
    seconds_left: Math.ceil((untilMs - nowMs) / 1000),
  };
}

function describe({ server, grants, counters }: Status): string {
  const head = server
    ? `the server runs since ${
      new Date(server.sinceMs).toISOString()
    }: ${server.backend}, udp ${server.listen.join(", ")}`
    : "the server does not run";
  const open = grants.length === 0 ? "nothing is open\n" : formatTable(
    ["CLIENT", "ADDRESS", "PORTS", "LEFT"],
    grants.map((
      { client, address, ports, seconds_left },
    ) => [client, address, ports, `${seconds_left}s`]),
  );
  const counted = Object.entries(counters).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, count]) => `${name} ${count}`).join(", ");
  return `${head}\n${open}${counted && `counted: ${counted}\n`}`;
}
