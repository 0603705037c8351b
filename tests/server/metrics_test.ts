import { assert, assertEquals, assertRejects } from "@std/assert";
import { parse as parseYaml } from "@std/yaml";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  formatMetrics,
  serveMetrics,
} from "../../lib/server/report/http/metrics.ts";
import { answerPage, formatPage } from "../../lib/server/report/http/page.ts";
import type { Status } from "../../lib/server/report/status.ts";
import { FailureError } from "../../lib/values/errors.ts";
import { toIdentifier } from "../../lib/values/text.ts";
import { runtime } from "../fakes/runtime.ts";

const NOW_MS = 1_700_000_300_500;

const numbers = {
  counts: { received: 12, "refused: mac": 3, "kernel: wrong tag": 4 },
  grants: 2,
  fleet: null,
  prefilter: null,
  sinceMs: 1_700_000_000_500,
  build: { version: "1.2.3", runtime: "deno", backend: "nft" },
};

const status: Status = {
  nowMs: NOW_MS,
  server: {
    pid: 1,
    sinceMs: NOW_MS - 300_000,
    backend: "nft (libnftables 1.0.6)",
    listen: ["[::]:62201"],
  },
  grants: [
    {
      client: "alice",
      address: "203.0.113.9",
      ports: { protocol: "tcp", first: 22, last: 22 },
      sinceMs: NOW_MS,
      untilMs: NOW_MS + 7_199_000,
      once: true,
      capped: true,
      to: null,
    },
  ],
  sequences: [],
  sniff: null,
  fleet: null,
  prefilter: null,
  droppedByHost: [],
  counters: numbers.counts,
  events: [{
    ...{ atMs: NOW_MS - 240_000, event: "refused", client: "bob" },
    ...{ address: "203.0.113.10", seconds: 0, dialect: "knock" },
    ports: `<script>alert("1")</script>\x1b[31m&'`,
    reason: "a command that this client may not run",
  }],
};

const facts = {
  status,
  grantCount: 1,
  hostName: "gate-1",
  version: "1.2.3",
};

test("the numbers of a fleet are told where there is one", () => {
  const text = formatMetrics({
    ...numbers,
    fleet: {
      ...{ engine: "etcd", name: "gw1", cutOffSinceMs: null, trouble: null },
      ...{ lagMs: 4, clients: 3, claims: 7, unknown: 1, claimsPerSecond: 0.7 },
      claimMs: null,
    },
  });
  for (
    const line of [
      "knock_fleet_reachable 1",
      "knock_fleet_lag_seconds 0.004",
      "knock_fleet_clients 3",
      "knock_fleet_claims_per_second 0.7",
      "knock_fleet_claims_total 7",
      "knock_fleet_claims_unknown_total 1",
    ]
  ) assert(text.includes(`\n${line}\n`), line);
  assert(!text.includes("knock_fleet_claim_seconds "));
});

test("formatMetrics() writes what Prometheus reads, labels as identifiers", () => {
  assertEquals(
    formatMetrics(numbers),
    `# HELP knock_build_info Version, runtime and firewall backend.
# TYPE knock_build_info gauge
knock_build_info{version="1.2.3",runtime="deno",backend="nft"} 1
# HELP knock_events_total Packets and requests, by what became of them.
# TYPE knock_events_total counter
knock_events_total{event="received"} 12
knock_events_total{event="refused_mac"} 3
knock_events_total{event="kernel_wrong_tag"} 4
# HELP knock_grants Grants that are open now.
# TYPE knock_grants gauge
knock_grants 2
# HELP knock_start_time_seconds When the server started, Unix time.
# TYPE knock_start_time_seconds gauge
knock_start_time_seconds 1700000000.5
`,
  );
});

test("formatMetrics() names where junk is dropped", () => {
  const prefilter = {
    kind: "xdp",
    interfaces: ["eth0 (native)", "eth1 (generic)"],
    problem: 'eth2: "no"',
  } as const;
  const text = formatMetrics({ ...numbers, prefilter });
  for (
    const line of [
      'knock_prefilter_info{kind="xdp",interfaces="eth0 (native), eth1 (generic)"} 1',
      "knock_prefilter_problem 1",
    ]
  ) assert(text.includes(`\n${line}\n`), text);
});

test("formatPage() shows grants, counters in words and events, and escapes what clients choose", () => {
  const page = formatPage(facts);
  for (
    const text of [
      "running since ",
      "(5 min)",
      "nft (libnftables 1.0.6), udp [::]:62201",
      "<td>alice</td>",
      '<td class="number">1h59m</td>',
      '<td class="mark">once, capped</td>',
      '<td class="number">3</td><td class="refused">refused: mac</td>',
      "<td>damaged, or forged with a copied tag</td>",
      "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\\u{1b}[31m&amp;&#39;",
      "prefers-color-scheme: dark",
    ]
  ) assert(page.includes(text), `${text}\n${page}`);
  assert(!/<script|\bon\w+=|javascript:/i.test(page));
  const many = formatPage({ ...facts, grantCount: 100_000 });
  assert(many.includes("and 99999 more"));
  const none = formatPage({
    ...facts,
    status: { ...status, server: null, grants: [], counters: {}, events: [] },
  });
  assert(none.includes("not running") && none.includes("nothing is open"));
});

const hosts: [host: string | null, status: number][] = [
  ["127.0.0.1:9162", 200],
  ["[::1]:9162", 200],
  ["192.0.2.1", 200],
  ["localhost:9162", 200],
  ["GATE-1:9162", 200],
  ["evil.example:9162", 403],
  ["127.0.0.1.evil.example", 403],
  ["localhost.evil.example:9162", 403],
  ["gate-1.evil.example", 403],
  ["", 403],
  [null, 403],
];
for (const [host, want] of hosts) {
  test(`the page is for its own names: Host ${host} is ${want}`, () => {
    const header = (name: string) =>
      name === "host" && host !== null ? [host] : [];
    const answer = answerPage({ header }, facts);
    assertEquals(Number(answer.status.slice(0, 3)), want);
    assertEquals(answer.body!.includes("alice"), want === 200);
  });
}

test("serveMetrics() answers GET /metrics and GET /, and nothing else", async () => {
  const at = { host: "127.0.0.1", port: 0 };
  const listener = await serveMetrics(runtime, at, () => numbers, () => facts);
  const base = `http://127.0.0.1:${listener.at.port}`;
  const answer = await fetch(`${base}/metrics`);
  assertEquals(answer.status, 200);
  assertEquals(await answer.text(), formatMetrics(numbers));
  const page = await fetch(`${base}/`);
  assertEquals(page.status, 200);
  assertEquals(await page.text(), formatPage(facts));
  const policy = page.headers.get("content-security-policy")!;
  assert(policy.startsWith("default-src 'none'"), policy);
  assertEquals(page.headers.get("cache-control"), "no-store");
  const other = await fetch(`${base}/x`);
  assertEquals(other.status, 404);
  await other.body?.cancel();
  for (const path of ["/metrics", "/"]) {
    const posted = await fetch(`${base}${path}`, { method: "POST" });
    assertEquals(posted.status, 404);
    await posted.body?.cancel();
  }
  const taken = await assertRejects(
    () => serveMetrics(runtime, listener.at, () => numbers, () => facts),
    FailureError,
  );
  assert(taken.message.includes("in use"), taken.message);
  await listener.close();
});

// docs/prometheus-alerts.yaml and docs/grafana-dashboard.json.

const DOCS = join(dirname(fileURLToPath(import.meta.url)), "../../docs");
const read = (name: string) => runtime.files.readText(join(DOCS, name));

/** Every counter that the troubleshooting table has, as a label. */
const labels = [...read("troubleshooting.md").matchAll(/^\| (`[^|]+) \|/gm)]
  .flatMap(([, cell]) =>
    [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => toIdentifier(name!))
  );

function expressions(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "expr" ? [inner as string] : expressions(inner)
  );
}

for (
  const [name, file] of [
    ["prometheus-alerts.yaml", parseYaml(read("prometheus-alerts.yaml"))],
    ["grafana-dashboard.json", JSON.parse(read("grafana-dashboard.json"))],
  ] as const
) {
  test(`docs/${name} asks for metrics and events that there are`, () => {
    const known = formatMetrics(numbers);
    const found = expressions(file);
    assert(found.length >= 7);
    for (const expr of found) {
      for (const [metric] of expr.matchAll(/\bknock_\w+/g)) {
        assert(known.includes(`# TYPE ${metric} `), metric);
      }
      for (const [, pattern] of expr.matchAll(/event=~?"([^"]+)"/g)) {
        for (const one of pattern!.split("|")) {
          const matching = new RegExp(`^(?:${one})$`);
          assert(labels.some((label) => matching.test(label)), one);
        }
      }
    }
  });
}
