/** Reports of a running server: to `status`, to Prometheus, and warnings to the log. */

import type { Config } from "../../config/config.ts";
import type { Listener } from "../../runtime/runtime.ts";
import { VERSION } from "../../values/program.ts";
import type { Store } from "../state/store.ts";
import type { Server } from "../state/server.ts";
import { serveMetrics } from "./http/metrics.ts";
import { MAX_GRANTS } from "./http/page.ts";
import { readStatus, type ServerFact } from "./status.ts";
import { attempt } from "./log.ts";
import { serveVerify } from "./http/verify.ts";

/** Last reload of a running server, for whom had it reload. */
export interface ReloadFact {
  /** Reloads since the state was made, of all servers. */
  readonly count: number;
  /** Why the configuration was not used; null = it was. */
  readonly mistake: string | null;
}

/** Writes down that the configuration was read again. */
export function reportReload(store: Store, mistake: string | null): void {
  const { count } = (store.fact("reload") ?? { count: 0 }) as ReloadFact;
  store.setFact("reload", { count: count + 1, mistake } satisfies ReloadFact);
}

/** The reports of one server. */
export class Reports {
  readonly #server: Server;
  #metrics: Listener | null = null;
  #verify: { listener: Listener; by: string } | null = null;

  constructor(server: Server) {
    this.#server = server;
  }

  /** Writes down that the server runs, and where. */
  announce(listen: readonly string[]): void {
    const { runtime, store, log, counters, sinceMs, active } = this.#server;
    const { pid } = runtime;
    const backend = active.firewall.name;
    attempt(log, () => {
      const fact: ServerFact = { pid, sinceMs, backend, listen };
      store.setFact("server", fact);
      // Those of an earlier server are over.
      store.setFact("counters", counters.all);
    });
  }

  /** Serves the numbers at the configured address. Throws FailureError. */
  async setMetrics({ metrics }: Config): Promise<void> {
    const at = this.#metrics?.at;
    if (at?.host === metrics?.host && at?.port === metrics?.port) return;
    await this.#metrics?.close();
    this.#metrics = null;
    if (!metrics) return;
    const { runtime, store, counters, sinceMs } = this.#server;
    const numbers = () => ({
      counts: counters.all,
      grants: store.ledger.countLive(runtime.nowMs()),
      sinceMs,
      fleet: this.#server.fleet?.fact ?? null,
      prefilter: this.#server.active.firewall.kernel?.prefilter ?? null,
      build: {
        version: VERSION,
        runtime: runtime.name,
        backend: this.#server.active.config.firewall.backend,
      },
    });
    const page = () => {
      const nowMs = runtime.nowMs();
      return {
        status: {
          ...readStatus(store, nowMs, () => true, MAX_GRANTS),
          counters: counters.all,
        },
        grantCount: store.ledger.countLive(nowMs),
        hostName: runtime.hostName(),
        version: VERSION,
      };
    };
    this.#metrics = await serveMetrics(runtime, metrics, numbers, page);
  }

  /** Answers reverse proxies at the configured address. Throws FailureError. */
  async setVerify({ verify }: Config): Promise<void> {
    const by = JSON.stringify(verify);
    if (by === (this.#verify?.by ?? "null")) return;
    await this.#verify?.listener.close();
    this.#verify = null;
    if (!verify) return;
    const { runtime, store } = this.#server;
    const listener = await serveVerify(runtime, verify, () => ({
      config: this.#server.active.config,
      grants: (address) =>
        store.ledger.reaching(address, runtime.nowMs())
          .filter(({ at }) => !at),
    }));
    this.#verify = { listener, by };
  }

  /** Writes down the counts, with those of the kernel, where one has changed. */
  async writeCounts(): Promise<void> {
    const server = this.#server;
    const { store, counters, queue } = server;
    const kernel = await queue.add(async () =>
      await server.active.firewall.kernel?.counters() ?? {}
    );
    for (const [name, count] of Object.entries(kernel)) {
      counters.set(name, count);
    }
    const counts = counters.takeChanged();
    if (counts) store.setFact("counters", counts);
  }

  /** Serves no numbers and answers no proxies any more. */
  async close(): Promise<void> {
    await this.#metrics?.close();
    await this.#verify?.listener.close();
  }

  /** Writes down the last counts, and that the server does not run any more. */
  async end(): Promise<void> {
    const { store, log } = this.#server;
    await attempt(log, async () => {
      await this.writeCounts();
      store.setFact("server", null);
    });
  }
}
