/** The server's numbers: GET /metrics for Prometheus, in its text format 0.0.4, and GET / for people. */

import type { Listener, Runtime } from "../../../runtime/runtime.ts";
import type { Endpoint } from "../../../values/address.ts";
import { counterIds } from "../counters.ts";
import { serveHttp } from "./http.ts";
import { answerPage, type PageFacts } from "./page.ts";

/** Most characters of a request, and most connections at a time. */
const MAX_HEAD = 4096;
const MAX_CONNECTIONS = 8;

/** Values of the metrics. */
interface Numbers {
  /** Packets by what became of them, and what was done. */
  readonly counts: Readonly<Record<string, number>>;
  /** Grants that are open now. */
  readonly grants: number;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  /** Labels of the build: the version, the runtime and the backend. */
  readonly build: Readonly<Record<"version" | "runtime" | "backend", string>>;
}

/** Writes the numbers as Prometheus reads them. */
export function formatMetrics(
  { counts, grants, sinceMs, build }: Numbers,
): string {
  const events = Object.entries(counterIds(counts)).map(([name, count]) =>
    `knock_events_total{event="${name}"} ${count}\n`
  );
  const labels = Object.entries(build).map(([name, value]) =>
    `${name}="${value.replace(/["\\\n]/g, "\\$&")}"`
  );
  return `# HELP knock_build_info Version, runtime and firewall backend.
# TYPE knock_build_info gauge
knock_build_info{${labels.join(",")}} 1
# HELP knock_events_total Packets and requests, by what became of them.
# TYPE knock_events_total counter
${events.join("")}# HELP knock_grants Grants that are open now.
# TYPE knock_grants gauge
knock_grants ${grants}
# HELP knock_start_time_seconds When the server started, Unix time.
# TYPE knock_start_time_seconds gauge
knock_start_time_seconds ${sinceMs / 1000}
`;
}

/** Serves the numbers, and a page of them, at an endpoint. Throws FailureError when it cannot listen there. */
export function serveMetrics(
  runtime: Runtime,
  at: Endpoint,
  numbers: () => Numbers,
  page: () => PageFacts,
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
    (request) => {
      const [, path] = /^GET (\/|\/metrics)(?:\?\S*)? HTTP\/1\.[01]$/
        .exec(request.line) ?? [];
      if (path === "/") return answerPage(request, page());
      return path === "/metrics"
        ? text("200 OK", formatMetrics(numbers()))
        : text("404 Not Found", "GET /metrics, or / for a page to look at\n");
    },
  );
}
