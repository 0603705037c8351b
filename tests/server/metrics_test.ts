import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  formatMetrics,
  serveMetrics,
} from "../../lib/server/report/http/metrics.ts";
import { FailureError } from "../../lib/values/errors.ts";
import { runtime } from "../fakes/runtime.ts";

const numbers = {
  counts: { received: 12, "refused: mac": 3 },
  grants: 2,
  sinceMs: 1_700_000_000_500,
};

test("formatMetrics() writes what Prometheus reads", () => {
  assertEquals(
    formatMetrics(numbers),
    `# HELP knock_events_total Packets and requests, by what became of them.
# TYPE knock_events_total counter
knock_events_total{event="received"} 12
knock_events_total{event="refused: mac"} 3
# HELP knock_grants Grants that are open now.
# TYPE knock_grants gauge
knock_grants 2
# HELP knock_start_time_seconds When the server started, Unix time.
# TYPE knock_start_time_seconds gauge
knock_start_time_seconds 1700000000.5
`,
  );
});

test("serveMetrics() answers GET /metrics, and nothing else", async () => {
  const at = { host: "127.0.0.1", port: 0 };
  const listener = await serveMetrics(runtime, at, () => numbers);
  const base = `http://127.0.0.1:${listener.at.port}`;
  const answer = await fetch(`${base}/metrics`);
  assertEquals(answer.status, 200);
  assertEquals(await answer.text(), formatMetrics(numbers));
  const other = await fetch(`${base}/`);
  assertEquals(other.status, 404);
  await other.body?.cancel();
  const posted = await fetch(`${base}/metrics`, { method: "POST" });
  assertEquals(posted.status, 404);
  await posted.body?.cancel();
  const taken = await assertRejects(
    () => serveMetrics(runtime, listener.at, () => numbers),
    FailureError,
  );
  assert(taken.message.includes("in use"), taken.message);
  await listener.close();
});
