/** State of a running server for `knock status` and its page: read from the state file. */

import type { HostFact } from "../grants/host.ts";
import type { SniffFact } from "../packet/entrances.ts";
import type { SequenceFact } from "../sequences/sequences.ts";
import type { FleetFact } from "../state/fleet.ts";
import type { PrefilterState } from "../../firewall/firewall.ts";
import type { Event } from "../state/history.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatPortRange } from "../../values/ports.ts";
import { counted } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import { counterIds } from "./counters.ts";

/** Facts about a running server that `status` reads. */
export interface ServerFact {
  readonly pid: number;
  readonly sinceMs: number;
  /** The backend in words. */
  readonly backend: string;
  /** Such as "[::]:62201". */
  readonly listen: readonly string[];
}

/** Most events that a status shows. */
const MAX_EVENTS = 20;

/** Open grants, counters and last events at a moment. */
export interface Status {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** Null: none is running. */
  readonly server: ServerFact | null;
  readonly grants: readonly LedgerEntry[];
  /** Port sequences, with any trouble in hearing them. */
  readonly sequences: readonly SequenceFact[];
  /** Sniffed ports, and why they are not heard; null: none are. */
  readonly sniff: SniffFact | null;
  /** The fleet; null where the server stands alone. */
  readonly fleet: FleetFact | null;
  /** Where junk is dropped before the server sees it; null: the backend has no such part. */
  readonly prefilter: PrefilterState | null;
  /** Ports that the host's own rules keep closed, whatever is granted. */
  readonly droppedByHost: readonly HostFact[];
  /** Counts since the server's start, by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** The latest events, in their order. */
  readonly events: readonly Event[];
}

/** Reads the status from the state, of at most `limit` grants; `isAlive`: a process is running. */
export function readStatus(
  store: Store | null,
  nowMs: number,
  isAlive: (pid: number) => boolean,
  limit?: number,
): Status {
  const fact = (store?.fact("server") ?? null) as ServerFact | null;
  const server = fact && isAlive(fact.pid) ? fact : null;
  const factOf = <T>(name: string, none: T) =>
    server ? (store!.fact(name) ?? none) as T : none;
  return {
    nowMs,
    server,
    grants: (store?.ledger.live(nowMs, limit) ?? [])
      .sort((a, b) => a.client < b.client ? -1 : a.client > b.client ? 1 : 0),
    sequences: factOf("sequences", []),
    sniff: factOf("sniff", null),
    fleet: factOf("fleet", null),
    prefilter: factOf("prefilter", null),
    droppedByHost: factOf("host", []),
    counters: (store?.fact("counters") ?? {}) as Record<string, number>,
    events: store?.history.find({ limit: MAX_EVENTS }) ?? [],
  };
}

/** The JSON object of `knock status --json`: docs/json.md, "status". */
export function statusJson(status: Status) {
  const { nowMs, server, fleet } = status;
  const time = (ms: number | null) =>
    ms === null ? null : new Date(ms).toISOString();
  return {
    running: server !== null,
    server: server && {
      pid: server.pid,
      since: time(server.sinceMs),
      backend: server.backend,
      listen: server.listen,
    },
    grants: status.grants.map((entry) => ({
      client: entry.client,
      address: entry.address,
      ports: [formatPortRange(entry.ports)],
      to: entry.to && formatEndpoint(entry.to),
      ...entry.at && { at: entry.at },
      since: time(entry.sinceMs),
      until: time(entry.untilMs),
      seconds_left: secondsLeft(entry, nowMs),
      once: entry.once,
      capped: entry.capped ?? false,
    })),
    sequences: status.sequences.map(({ name, watch, left, trouble }) => ({
      name,
      watch,
      one_time_left: left,
      trouble,
    })),
    sniff: status.sniff,
    fleet: fleet && {
      engine: fleet.engine,
      name: fleet.name,
      reachable: fleet.cutOffSinceMs === null,
      cut_off_since: time(fleet.cutOffSinceMs),
      trouble: fleet.trouble,
      lag_ms: fleet.lagMs,
      clients: fleet.clients,
      claims: fleet.claims,
      claims_unknown: fleet.unknown,
      claims_per_second: fleet.claimsPerSecond,
      claim_ms_median: fleet.claimMs,
    },
    prefilter: status.prefilter,
    dropped_by_host: status.droppedByHost.map((fact) => ({
      ...fact,
      ports: [fact.ports],
    })),
    counters: counterIds(status.counters),
  };
}

/** Whole seconds until a grant ends, rounded up. */
export function secondsLeft({ untilMs }: LedgerEntry, nowMs: number): number {
  return Math.ceil((untilMs - nowMs) / 1000);
}

/** Joins grants that differ only in their ports: list "tcp/22, tcp/443", marks ["once", "capped"]. */
export function grantRows(
  grants: readonly LedgerEntry[],
): (LedgerEntry & { list: string; marks: string[] })[] {
  const groups = Map.groupBy(grants, (entry) =>
    JSON.stringify([
      ...[entry.client, entry.address, entry.untilMs, entry.once],
      ...[entry.capped ?? false, entry.to, entry.at],
    ]));
  return [...groups.values()].map((own) => {
    const { once, capped, to, at } = own[0]!;
    const marks = [
      once && "once",
      capped && "capped",
      to && `to ${formatEndpoint(to)}`,
      at && `at ${at}`,
    ].filter((mark) => typeof mark === "string");
    const list = own.map(({ ports }) => formatPortRange(ports)).join(", ");
    return { ...own[0]!, list, marks };
  });
}

/** An event without its time, in words: "open alice 203.0.113.9 tcp/22 for 30s". */
export function describeEvent(
  { event, client, address, ports, seconds, reason }: Event,
): string {
  const duration = seconds > 0 ? `for ${formatDuration(seconds)}` : "";
  return [event, client, address, ports, duration].filter(Boolean).join(" ") +
    (reason && `: ${reason}`);
}

/** Trouble of port sequences, a line each; none where all is well. */
export function describeSequences(
  sequences: readonly SequenceFact[],
): string[] {
  return sequences.flatMap(({ name, left, trouble }) =>
    [
      ...trouble === null ? [] : [`is not heard: ${trouble}`],
      ...left === null
        ? []
        : left === 0
        ? ["all one-time sequences are used"]
        : [`${counted(left, "one-time sequence")} left`],
    ].map((words) => `sequence ${name}: ${words}`)
  );
}
