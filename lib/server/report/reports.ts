/** Reports of a running server: to `status`, to Prometheus, and warnings to the log. */

import type { Config } from "../../config/config.ts";
import type { Listener, Runtime } from "../../runtime/runtime.ts";
import type { Grants } from "../grants/grants.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "./log.ts";
import { type Counters, serveMetrics } from "./metrics.ts";
import { attempt } from "./trouble.ts";

/** Facts about a running server that `status` reads. */
export interface ServerFact {
  readonly pid: number;
  readonly sinceMs: number;
  /** The backend in words. */
  readonly backend: string;
  /** Such as "[::]:62201". */
  readonly listen: readonly string[];
}

/** What is reported of, and where to. */
export interface ReportsParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
  readonly keeper: Grants;
}

/** The reports of one server, which begins when they do. */
export class Reports {
  readonly #parts: ReportsParts;
  readonly #sinceMs: number;
  #metrics: Listener | null = null;

  constructor(parts: ReportsParts) {
    this.#parts = parts;
    this.#sinceMs = parts.runtime.nowMs();
  }

  /** Writes down that the server runs, and where; logs what its configuration warns of. */
  announce(listen: readonly string[]): void {
    const { runtime, store, log, keeper } = this.#parts;
    const fact: ServerFact = {
      pid: runtime.pid,
      sinceMs: this.#sinceMs,
      backend: keeper.firewall.name,
      listen,
    };
    attempt(log, () => store.setFact("server", fact));
    for (const words of keeper.config.warnings) log("warn", words);
  }

  /** Serves the numbers where a configuration says. Throws FailureError. */
  async setMetrics({ metrics }: Config): Promise<void> {
    const at = this.#metrics?.at;
    if (at?.host === metrics?.host && at?.port === metrics?.port) return;
    await this.#metrics?.close();
    const { runtime, store, counters } = this.#parts;
    this.#metrics = metrics && await serveMetrics(runtime, metrics, () => ({
      counts: counters.all,
      grants: store.ledger.countLive(runtime.nowMs()),
      sinceMs: this.#sinceMs,
    }));
  }

  /** Writes down the counts, with those of the kernel, where one has changed. */
  async writeCounts(): Promise<void> {
    const { store, counters, keeper } = this.#parts;
    const kernel = await keeper.enqueue(async () =>
      await keeper.firewall.kernel?.counters() ?? {}
    );
    for (const [name, count] of Object.entries(kernel)) {
      counters.set(name, count);
    }
    const counts = counters.takeChanged();
    if (counts) store.setFact("counters", counts);
  }

  /** Serves no numbers any more. */
  async close(): Promise<void> {
    await this.#metrics?.close();
  }

  /** Writes down the last counts, and that the server does not run any more. */
  async end(): Promise<void> {
    const { store, log } = this.#parts;
    await attempt(log, async () => {
      await this.writeCounts();
      store.setFact("server", null);
    });
  }
}
