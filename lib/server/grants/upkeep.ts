/**
 * What is looked after without anybody knocking: grants that ended, clients
 * that are gone, a firewall that was changed from outside.
 * @module
 */

import type { Config } from "../../config/config.ts";
import { FirewallError } from "../../firewall/firewall.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { latestEnd } from "../packet/judge.ts";
import type { Log } from "../report/log.ts";
import type { Runner } from "../runner.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";
import { type ActiveConfig, granteesOf } from "./active.ts";
import type { Orders } from "./orders.ts";
import type { Records } from "./records.ts";

/** Delay before a grant that could not be closed is tried again, milliseconds. */
const CLOSE_AGAIN_MS = 60_000;

/** What upkeep is done with. */
export interface UpkeepParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly runner: Runner;
  readonly inForce: ActiveConfig;
  readonly records: Records;
  readonly orders: Orders;
}

/** Looks after ledger and firewall. Methods throw FirewallError and SystemError. */
export class Upkeep {
  readonly #parts: UpkeepParts;
  /** Addresses whose grants could not be closed, and when to try again. */
  readonly #closeAgainMs = new Map<string, number>();
  /** Why the host's own chain keeps grants from counting, as last said. */
  #jumpProblem: string | null = null;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** Takes ended grants out of the ledger, and closes them where the kernel does not. */
  async sweep(): Promise<void> {
    const { runtime, store, inForce, records } = this.#parts;
    const nowMs = runtime.nowMs();
    const over = store.ledger.ended(nowMs);
    if (over.length === 0) return;
    const ended = inForce.firewall.endsGrants
      ? over
      : await this.#closeEach(over, nowMs);
    if (ended.length === 0) return;
    store.transaction(() => records.end(ended, ""));
    this.#runHooks(ended);
  }

  /** Takes the grants of clients that a configuration does not name out of the ledger, and closes them. */
  async dropClients(config: Config): Promise<void> {
    const { runtime, store, log, records, orders } = this.#parts;
    const nowMs = runtime.nowMs();
    const names = granteesOf(config);
    const gone = store.ledger.live(nowMs).filter(({ client }) =>
      !names.has(client)
    );
    if (gone.length === 0) return;
    store.transaction(() => records.end(gone, "the client was removed"));
    try {
      await orders.close(gone, nowMs);
    } catch (error) {
      records.putBack(gone);
      throw error;
    }
    this.#runHooks(gone);
    for (const client of new Set(gone.map((entry) => entry.client))) {
      log("info", `close ${client}: the client was removed`, { client });
    }
  }

  /** Ends grants as early as their clients' `expires` and `hours` say in a configuration. */
  async shortenGrants(config: Config): Promise<void> {
    const { runtime, store, log, records, orders } = this.#parts;
    const nowMs = runtime.nowMs();
    const clients = new Map(config.clients.map((one) => [one.name, one]));
    const shortened: LedgerEntry[] = [];
    const ended: LedgerEntry[] = [];
    const before: LedgerEntry[] = [];
    for (const entry of store.ledger.live(nowMs)) {
      const client = clients.get(entry.client);
      const untilMs = client && latestEnd(client, nowMs, entry.untilMs);
      if (untilMs === undefined || untilMs >= entry.untilMs) continue;
      before.push(entry);
      // A single-use grant may be used already: none is given again.
      if (untilMs <= nowMs || entry.once) ended.push(entry);
      else shortened.push({ ...entry, untilMs });
    }
    if (before.length === 0) return;
    store.transaction(() => {
      records.end(ended, "the client's time is over");
      for (const entry of shortened) {
        store.ledger.remove(entry);
        store.ledger.put(entry);
      }
    });
    try {
      await orders.close(before, nowMs);
    } catch (error) {
      records.putBack(before);
      throw error;
    }
    await orders.kill(ended);
    this.#runHooks(ended);
    for (const client of new Set(before.map((entry) => entry.client))) {
      const words = `${client}: grants end earlier, by expires or hours`;
      log("info", words, { client });
    }
  }

  /**
   * Puts the firewall back if somebody changed what is ours. A missing jump to
   * our chain is logged here only where the host's rules cannot be read: else
   * the model of them finds what it closes.
   */
  async care(hostIsRead: boolean): Promise<void> {
    const { log, inForce, orders } = this.#parts;
    const problem = hostIsRead
      ? null
      : await inForce.firewall.kernel?.jumpProblem() ?? null;
    if (problem !== this.#jumpProblem && !hostIsRead) {
      if (problem) log("warn", `no knock can open: ${problem}`);
      else log("info", "knocks can open again");
    }
    this.#jumpProblem = problem;
    if (await inForce.firewall.intact()) return;
    log("warn", "the firewall was changed from outside: putting it back");
    await orders.apply(inForce.config, inForce.firewall);
  }

  /** Closes entries, one address after the other; those that it could. */
  async #closeEach(
    over: readonly LedgerEntry[],
    nowMs: number,
  ): Promise<LedgerEntry[]> {
    const { log, orders } = this.#parts;
    const closed: LedgerEntry[] = [];
    for (const [address, own] of Map.groupBy(over, (one) => one.address)) {
      if ((this.#closeAgainMs.get(address) ?? 0) > nowMs) continue;
      this.#closeAgainMs.delete(address);
      try {
        await orders.close(own, nowMs);
        closed.push(...own);
      } catch (error) {
        if (!(error instanceof FirewallError)) throw error;
        // It may go on failing, and must not keep the others open.
        this.#closeAgainMs.set(address, nowMs + CLOSE_AGAIN_MS);
        const words = `cannot end what is open for ${address}, and will try ` +
          `again in ${CLOSE_AGAIN_MS / 1000} s: ${error.message}`;
        log("error", words, { address });
      }
    }
    return closed;
  }

  #runHooks(ended: readonly LedgerEntry[]): void {
    const { runner, inForce: { config } } = this.#parts;
    for (const entry of ended) runner.hook(config.hooks.close, entry);
  }
}
