/** The server's numbers for Prometheus: GET /metrics, in its text format 0.0.4. */

import type { Listener, Runtime, Stream } from "../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { FailureError, SystemError } from "../../values/errors.ts";

/** The most that is read of a request, and for how long, and how many at a time. */
const MAX_REQUEST = 4096;
const TIMEOUT_MS = 3000;
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
export async function serveMetrics(
  runtime: Runtime,
  at: Endpoint,
  numbers: () => Numbers,
): Promise<Listener> {
  let open = 0;
  const serve = async (connection: Stream) => {
    if (open >= MAX_CONNECTIONS) return connection.close();
    open++;
    const timeout = new AbortController();
    const late = runtime.sleep(TIMEOUT_MS, timeout.signal)
      .then(() => connection.close());
    try {
      const line = await readRequestLine(connection);
      const known = /^GET \/metrics(?:\?\S*)? HTTP\/1\.[01]$/.test(line);
      await connection.write(
        known
          ? respond("200 OK", formatMetrics(numbers()))
          : respond("404 Not Found", "GET /metrics\n"),
      );
      await connection.finish();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    } finally {
      timeout.abort();
      await late;
      open--;
    }
  };
  try {
    return await runtime.listenStream(at, serve);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `cannot listen on tcp ${
        formatEndpoint(at)
      } for metrics: ${error.message}`,
      "another address or port goes under metrics",
    );
  }
}

function respond(status: string, body: string): Uint8Array {
  const bytes = new TextEncoder().encode(body);
  const head = `HTTP/1.1 ${status}\r\n` +
    "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" +
    `Content-Length: ${bytes.length}\r\nConnection: close\r\n\r\n`;
  return new Uint8Array([...new TextEncoder().encode(head), ...bytes]);
}

/** The first line of a request; all of its head is read, so that nothing is left when it closes. */
async function readRequestLine(connection: Stream): Promise<string> {
  let text = "";
  while (!text.includes("\r\n\r\n") && text.length < MAX_REQUEST) {
    const bytes = await connection.read();
    if (bytes === null) break;
    text += String.fromCharCode(...bytes.subarray(0, MAX_REQUEST));
  }
  return text.split("\r\n", 1)[0]!;
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
