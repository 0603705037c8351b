/** The server's numbers: GET /metrics for Prometheus, in its text format 0.0.4, and GET / for people. */

import type { PrefilterState } from "../../../firewall/firewall.ts";
import type { Listener, Runtime } from "../../../runtime/runtime.ts";
import type { Endpoint } from "../../../values/address.ts";
import { counterIds } from "../counters.ts";
import type { FleetFact } from "../../state/fleet.ts";
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
  /** The fleet; null where the server stands alone. */
  readonly fleet: FleetFact | null;
  /** Where junk is dropped; null = the backend has no prefilter. */
  readonly prefilter: PrefilterState | null;
}

/** Writes the numbers as Prometheus reads them. */
export function formatMetrics(
  { counts, grants, sinceMs, build, fleet, prefilter }: Numbers,
): string {
  const events = Object.entries(counterIds(counts)).map(([name, count]) =>
    `knock_events_total{event="${name}"} ${count}\n`
  );
  return `# HELP knock_build_info Version, runtime and firewall backend.
# TYPE knock_build_info gauge
knock_build_info{${labelsOf(build)}} 1
# HELP knock_events_total Packets and requests, by what became of them.
# TYPE knock_events_total counter
${events.join("")}# HELP knock_grants Grants that are open now.
# TYPE knock_grants gauge
knock_grants ${grants}
# HELP knock_start_time_seconds When the server started, Unix time.
# TYPE knock_start_time_seconds gauge
knock_start_time_seconds ${sinceMs / 1000}
${prefilter === null ? "" : formatPrefilter(prefilter)}${
    fleet === null ? "" : formatFleet(fleet)
  }`;
}

function formatPrefilter(
  { kind, interfaces, problem }: PrefilterState,
): string {
  const labels = labelsOf({ kind, interfaces: interfaces.join(", ") });
  return `# HELP knock_prefilter_info Where the kernel drops junk.
# TYPE knock_prefilter_info gauge
knock_prefilter_info{${labels}} 1
# HELP knock_prefilter_problem 1 if it is not as the configuration wants it.
# TYPE knock_prefilter_problem gauge
knock_prefilter_problem ${problem === null ? 0 : 1}
`;
}

/** Labels in the text format, escaped. */
function labelsOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/["\\\n]/g, "\\$&")}"`
  ).join(",");
}

/** Numbers of a fleet; what was not measured yet is left out. */
function formatFleet(fleet: FleetFact): string {
  const gauge = (name: string, words: string, value: number | null) =>
    value === null
      ? ""
      : `# HELP ${name} ${words}\n# TYPE ${name} gauge\n${name} ${value}\n`;
  const { cutOffSinceMs, lagMs, clients, claimMs, claimsPerSecond } = fleet;
  const reachable = cutOffSinceMs === null ? 1 : 0;
  return gauge(
    "knock_fleet_reachable",
    "1 while the engine answers.",
    reachable,
  ) +
    gauge(
      "knock_fleet_lag_seconds",
      "Time until this gateway hears of its own heartbeat.",
      lagMs === null ? null : lagMs / 1000,
    ) +
    gauge("knock_fleet_clients", "Clients that the fleet shares.", clients) +
    gauge(
      "knock_fleet_claims_per_second",
      "Claims of the last ten seconds.",
      claimsPerSecond,
    ) +
    gauge(
      "knock_fleet_claim_seconds",
      "Median of the latest claims.",
      claimMs === null ? null : claimMs / 1000,
    ) +
    `# HELP knock_fleet_claims_total Claims of packets.
# TYPE knock_fleet_claims_total counter
knock_fleet_claims_total ${fleet.claims}
# HELP knock_fleet_claims_unknown_total Claims that the engine did not answer.
# TYPE knock_fleet_claims_unknown_total counter
knock_fleet_claims_unknown_total ${fleet.unknown}
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
