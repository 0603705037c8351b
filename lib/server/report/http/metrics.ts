/** The server's numbers: GET /metrics for Prometheus, in its text format 0.0.4, and GET / for people. */

import type { PrefilterState } from "../../../firewall/firewall.ts";
import type { Listener, Runtime } from "../../../runtime/runtime.ts";
import type { Endpoint } from "../../../values/address.ts";
import { counterIds } from "../counters.ts";
import type { FleetFact } from "../../state/fleet.ts";
import { serveHttp } from "./http.ts";
import { answerPage, type PageFacts } from "./page.ts";

const LIMITS = { key: "metrics", head: 4096, connections: 8 };

interface Numbers {
  /** Packets by what became of them, and what was done. */
  readonly counts: Readonly<Record<string, number>>;
  readonly grants: number;
  /** Unix milliseconds. */
  readonly sinceMs: number;
  readonly build: Readonly<Record<"version" | "runtime" | "backend", string>>;
  /** The fleet; null where the server stands alone. */
  readonly fleet: FleetFact | null;
  /** Where junk is dropped; null = the backend has no prefilter. */
  readonly prefilter: PrefilterState | null;
}

/** The metrics, in words; what is not a total is a gauge. */
const HELP = {
  knock_build_info: "Version, runtime and firewall backend.",
  knock_events_total: "Packets and requests, by what became of them.",
  knock_grants: "Grants that are open now.",
  knock_start_time_seconds: "When the server started, Unix time.",
  knock_prefilter_info: "Where the kernel drops junk.",
  knock_prefilter_problem: "1 if it is not as the configuration wants it.",
  knock_fleet_reachable: "1 while the engine answers.",
  knock_fleet_lag_seconds:
    "Time until this gateway hears of its own heartbeat.",
  knock_fleet_clients: "Clients that the fleet shares.",
  knock_fleet_claims_per_second: "Claims of the last ten seconds.",
  knock_fleet_claim_seconds: "Median of the latest claims.",
  knock_fleet_claims_total: "Claims of packets.",
  knock_fleet_claims_unknown_total: "Claims that the engine did not answer.",
};

/** Writes the numbers as Prometheus reads them; what was not measured yet is left out. */
export function formatMetrics(
  { counts, grants, sinceMs, build, fleet, prefilter }: Numbers,
): string {
  const events = Object.entries(counterIds(counts));
  const text = [
    metric("knock_build_info", [[build, 1]]),
    metric(
      "knock_events_total",
      events.map(([event, count]) => [{ event }, count]),
    ),
    metric("knock_grants", grants),
    metric("knock_start_time_seconds", sinceMs / 1000),
  ];
  if (prefilter) {
    const { kind, interfaces, problem } = prefilter;
    const labels = { kind, interfaces: interfaces.join(", ") };
    text.push(
      metric("knock_prefilter_info", [[labels, 1]]),
      metric("knock_prefilter_problem", problem === null ? 0 : 1),
    );
  }
  if (fleet) {
    const seconds = (ms: number | null) => ms === null ? null : ms / 1000;
    text.push(
      metric("knock_fleet_reachable", fleet.cutOffSinceMs === null ? 1 : 0),
      metric("knock_fleet_lag_seconds", seconds(fleet.lagMs)),
      metric("knock_fleet_clients", fleet.clients),
      metric("knock_fleet_claims_per_second", fleet.claimsPerSecond),
      metric("knock_fleet_claim_seconds", seconds(fleet.claimMs)),
      metric("knock_fleet_claims_total", fleet.claims),
      metric("knock_fleet_claims_unknown_total", fleet.unknown),
    );
  }
  return text.join("");
}

type Labels = Readonly<Record<string, string>>;

/** A metric in the text format: its value, or its values by their labels. */
function metric(
  name: keyof typeof HELP,
  value: number | null | readonly (readonly [labels: Labels, value: number])[],
): string {
  if (value === null) return "";
  const samples = typeof value === "number"
    ? `${name} ${value}\n`
    : value.map(([labels, one]) => `${name}{${labelsOf(labels)}} ${one}\n`)
      .join("");
  const type = name.endsWith("_total") ? "counter" : "gauge";
  return `# HELP ${name} ${HELP[name]}\n# TYPE ${name} ${type}\n${samples}`;
}

/** Labels in the text format, escaped. */
function labelsOf(labels: Labels): string {
  return Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/["\\\n]/g, "\\$&")}"`
  ).join(",");
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
  return serveHttp(runtime, at, LIMITS, (request) => {
    const [, path] = /^GET (\/|\/metrics)(?:\?\S*)? HTTP\/1\.[01]$/
      .exec(request.line) ?? [];
    if (path === "/") return answerPage(request, page());
    return path === "/metrics"
      ? text("200 OK", formatMetrics(numbers()))
      : text("404 Not Found", "GET /metrics, or / for a page to look at\n");
  });
}
