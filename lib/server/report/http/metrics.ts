/** The server's numbers for Prometheus: GET /metrics, in its text format 0.0.4. */

import type { Listener, Runtime } from "../../../runtime/runtime.ts";
import type { Endpoint } from "../../../values/address.ts";
import { serveHttp } from "./http.ts";

/** Most characters of a request, and most connections at a time. */
const MAX_HEAD = 4096;
const MAX_CONNECTIONS = 8;

/** Values of the metrics. */
export interface Numbers {
  /** Packets by what became of them, and what was done. */
  readonly counts: Readonly<Record<string, number>>;
  /** Grants that are open now. */
  readonly grants: number;
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

/** Writes the numbers as Prometheus reads them. */
export function formatMetrics({ counts, grants, sinceMs }: Numbers): string {
  const events = Object.entries(counts).map(([name, count]) =>
    `knock_events_total{event="${name}"} ${count}\n`
  );
  return `# HELP knock_events_total Packets and requests, by what became of them.
# TYPE knock_events_total counter
${events.join("")}# HELP knock_grants Grants that are open now.
# TYPE knock_grants gauge
knock_grants ${grants}
# HELP knock_start_time_seconds When the server started, Unix time.
# TYPE knock_start_time_seconds gauge
knock_start_time_seconds ${sinceMs / 1000}
`;
}

/** Serves the numbers at an endpoint. Throws FailureError when it cannot listen there. */
export function serveMetrics(
  runtime: Runtime,
  at: Endpoint,
  numbers: () => Numbers,
): Promise<Listener> {
  const text = (status: string, body: string) => ({
    status,
    headers: { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" },
    body,
  });
  return serveHttp(
    runtime,
    at,
    { key: "metrics", head: MAX_HEAD, connections: MAX_CONNECTIONS },
    ({ line }) =>
      /^GET \/metrics(?:\?\S*)? HTTP\/1\.[01]$/.test(line)
        ? text("200 OK", formatMetrics(numbers()))
        : text("404 Not Found", "GET /metrics\n"),
  );
}

/** Counters by name: packets of strangers are counted, never logged. */

/** Counts by name; the names are ours, so their number is bounded. */
export class Counters {
  readonly #counts = new Map<string, number>();
  #changed = false;

  /** All counts so far. */
  get all(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Takes over what somebody else counts, the kernel say. */
  set(name: string, count: number): void {
    if (this.#counts.get(name) === count) return;
    this.#counts.set(name, count);
    this.#changed = true;
  }

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    this.#changed = true;
  }

  /** All counts so far; null if nothing changed since the last call. */
  takeChanged(): Readonly<Record<string, number>> | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.all;
  }
}
