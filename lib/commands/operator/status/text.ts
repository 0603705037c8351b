/** Facts of `knock status`, and their text. */

import type { Runtime } from "../../../runtime/runtime.ts";
import type { SequenceFact } from "../../../server/sequences/sequences.ts";
import {
  describeHostFact,
  type HostFact,
} from "../../../server/grants/host.ts";
import type { ServerFact } from "../../../server/report/reports.ts";
import type { LedgerEntry } from "../../../server/state/ledger.ts";
import type { Store } from "../../../server/state/store.ts";
import { formatPortRange } from "../../../values/ports.ts";
import { counted, escapeUnsafe, formatTable } from "../../../values/text.ts";

/** One thing that is open, as `--json` prints it. */
export interface OpenGrant {
  readonly client: string;
  readonly address: string;
  readonly ports: string;
  readonly until: string;
  readonly seconds_left: number;
}

/** Output of `--json`. */
export interface Status {
  readonly running: boolean;
  readonly server: ServerFact | null;
  readonly grants: readonly OpenGrant[];
  /** Port sequences, with any trouble in hearing them. */
  readonly sequences: readonly SequenceFact[];
  /** Ports that the host's own rules keep closed, whatever is granted. */
  readonly dropped_by_host: readonly HostFact[];
  readonly counters: Readonly<Record<string, number>>;
}

/** Reads the status from the state; null where no server has run yet. */
export function readStatus(runtime: Runtime, store: Store | null): Status {
  if (!store) {
    return {
      ...{ running: false, server: null },
      ...{ grants: [], sequences: [], dropped_by_host: [], counters: {} },
    };
  }
  const nowMs = runtime.nowMs();
  const server = (store.fact("server") ?? null) as ServerFact | null;
  const running = server !== null && runtime.signalProcess(server.pid, "test");
  return {
    running,
    server: running ? server : null,
    grants: store.ledger.live(nowMs).map((entry) => row(entry, nowMs)),
    sequences: running ? (store.fact("doors") ?? []) as SequenceFact[] : [],
    dropped_by_host: running ? (store.fact("host") ?? []) as HostFact[] : [],
    counters: (store.fact("counters") ?? {}) as Record<string, number>,
  };
}

/** The status in lines for people. */
export function describeStatus(
  { server, grants, sequences, dropped_by_host, counters }: Status,
): string {
  const open = grants.length === 0 ? "nothing is open\n" : formatTable(
    ["CLIENT", "ADDRESS", "PORTS", "LEFT"],
    grants.map((
      { client, address, ports, seconds_left },
    ) => [client, address, ports, `${seconds_left}s`]),
  );
  const counted = Object.entries(counters).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, count]) => escapeUnsafe(`${name} ${count}`)).join(", ");
  const doors = sequences.map(describeDoor).join("");
  const dropped = dropped_by_host.map((fact) =>
    `warning: ${escapeUnsafe(describeHostFact(fact))}\n`
  ).join("");
  return `${describeServer(server)}\n${dropped}${open}${doors}${
    counted && `counted: ${counted}\n`
  }`;
}

/** Words about a sequence; none where all is well. */
function describeDoor({ name, left, trouble }: SequenceFact): string {
  const words = [
    ...trouble === null ? [] : [`is not heard: ${trouble}`],
    ...left === null ? [] : [
      left === 0
        ? "all one-time sequences are used"
        : `${counted(left, "one-time sequence")} left`,
    ],
  ];
  return words.map((each) => escapeUnsafe(`sequence ${name}: ${each}`) + "\n")
    .join("");
}

/** A line about the server: since when it is running, with which backend, and where it listens. */
export function describeServer(server: ServerFact | null): string {
  if (!server) return "the server does not run";
  const { sinceMs, backend, listen } = server;
  const since = new Date(sinceMs).toISOString();
  const words = `the server runs since ${since}: ${backend}, udp ${
    listen.join(", ")
  }`;
  return escapeUnsafe(words);
}

function row(
  { client, address, ports, untilMs }: LedgerEntry,
  nowMs: number,
): OpenGrant {
  return {
    client,
    address,
    ports: formatPortRange(ports),
    until: new Date(untilMs).toISOString(),
    seconds_left: Math.ceil((untilMs - nowMs) / 1000),
  };
}
