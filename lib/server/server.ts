/**
 * The server: in which order it starts, reloads and stops, and what it does
 * again and again. The way of a packet is `receiver.ts`, then `keeper.ts`.
 * @module
 */

import type { Config } from "../config/config.ts";
import type { Firewall } from "../firewall/firewall.ts";
import type { Runtime, Stoppable } from "../runtime/runtime.ts";
import { ClockJumps } from "./clock.ts";
import { Sequences } from "./sequences/sequences.ts";
import { Grants } from "./grants/grants.ts";
import { Entrances } from "./packet/entrances.ts";
import { checkGpg } from "./packet/gpg.ts";
import { PrefilterTags } from "./packet/prefilter.ts";
import { Receiver } from "./packet/receiver.ts";
import type { Log } from "./report/log.ts";
import { Counters } from "./report/metrics.ts";
import { Reports } from "./report/reports.ts";
import { attempt, orFailure } from "./report/trouble.ts";
import { createRunner } from "./runner.ts";
import { MAX_EVENTS_OF_CLIENT } from "./state/history.ts";
import { noteBoot, type Store } from "./state/store.ts";

/** Interval of removing ended grants from the ledger, milliseconds. */
const SWEEP_MS = 1000;
/** Interval of writing counters to the state file, milliseconds. */
const REPORT_MS = 2000;
/** Interval of checking the firewall and dropping old records, milliseconds. */
const CARE_MS = 10_000;

/** What a server is made of. */
export interface ServerParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  /** Makes the backend that a configuration names. */
  readonly createFirewall: (config: Config) => Promise<Firewall>;
}

/** A running server. */
export class Server {
  readonly #parts: ServerParts;
  readonly #keeper: Grants;
  readonly #clock: ClockJumps;
  readonly #receiver: Receiver;
  readonly #entrances: Entrances;
  readonly #doors: Sequences;
  readonly #gate: PrefilterTags;
  readonly #reports: Reports;
  readonly #timers: Stoppable[] = [];

  private constructor(parts: ServerParts, config: Config, firewall: Firewall) {
    const { runtime, log } = parts;
    const counters = new Counters();
    const runner = createRunner(runtime, log, counters);
    const keeper = new Grants({ ...parts, counters, runner }, config, firewall);
    const clock = new ClockJumps({ ...parts, keeper });
    const receiver = new Receiver({ ...parts, counters, keeper, clock });
    this.#parts = parts;
    this.#keeper = keeper;
    this.#clock = clock;
    this.#receiver = receiver;
    this.#entrances = new Entrances(
      runtime,
      counters,
      (readings, source, socket) => receiver.receive(readings, source, socket),
    );
    this.#doors = new Sequences({ ...parts, runner, keeper, counters });
    this.#gate = new PrefilterTags(runtime);
    this.#reports = new Reports({ ...parts, counters, keeper });
  }

  /** Guards the services, puts back what is still granted, and listens. Throws an OperatorError. */
  static async start(parts: ServerParts, config: Config): Promise<Server> {
    const { runtime, store } = parts;
    await orFailure(() => {
      store.replay.begin(runtime.nowMs(), noteBoot(runtime, store));
      store.replay.allow(config.maxSkewMs, runtime.nowMs());
      store.ledger.rebase(runtime.nowMs());
    });
    await checkGpg(runtime, config);
    const firewall = await orFailure(() => parts.createFirewall(config));
    const server = new Server(parts, config, firewall);
    try {
      await server.#begin(config, firewall);
    } catch (error) {
      await server.#entrances.close();
      await server.#keeper.enqueue(() => firewall.stop());
      throw error;
    }
    server.#reports.announce(server.listening);
    server.#startTimers();
    return server;
  }

  async #begin(config: Config, firewall: Firewall): Promise<void> {
    const keeper = this.#keeper;
    (await this.#receiver.prepare(config))();
    // Ports that are in use are found before anything is guarded.
    await this.#entrances.open(config);
    // A knock may come in already, and waits.
    await keeper.enqueue(() =>
      orFailure(async () => {
        await keeper.apply();
        await keeper.dropGrants(config);
        await keeper.sweep();
        await this.#gate.set(config, firewall);
        await keeper.lookAtHost();
        await keeper.care();
      })
    );
    await this.#doors.adopt(config);
    await this.#reports.setMetrics(config);
  }

  #startTimers(): void {
    const keeper = this.#keeper;
    const { store, log } = this.#parts;
    this.#every(SWEEP_MS, () =>
      keeper.enqueue(async () => {
        this.#clock.look();
        await keeper.sweep();
        this.#doors.sweep();
        await this.#gate.renew(keeper.config, keeper.firewall);
      }));
    this.#every(REPORT_MS, () => this.#reports.writeCounts());
    this.#every(CARE_MS, () => {
      store.replay.prune(this.#clock.surelyMs());
      for (const client of store.history.prune()) {
        const words = `${client}: its part of the history is full: only its ` +
          `latest ${MAX_EVENTS_OF_CLIENT} events are kept`;
        log("warn", words, { client });
      }
      return keeper.enqueue(() => keeper.care());
    });
    this.#every(CARE_MS, () => keeper.lookAtHost());
  }

  /** The backend in use, in words. */
  get backend(): string {
    return this.#keeper.firewall.name;
  }

  /** Where it listens, in words. */
  get listening(): string[] {
    return this.#entrances.words;
  }

  /** True if a knock has opened something since the start. */
  get hasOpened(): boolean {
    return this.#keeper.hasOpened;
  }

  /**
   * Goes on with another configuration: grants stay, a client that is gone is
   * closed at once. Throws an OperatorError and changes nothing if it cannot.
   */
  reload(config: Config): Promise<void> {
    return this.#keeper.enqueue(async () => {
      const keeper = this.#keeper;
      const { config: old, firewall: before } = keeper;
      await checkGpg(this.#parts.runtime, config);
      const adopt = await this.#receiver.prepare(config);
      const opened = await this.#entrances.open(config);
      const firewall = await this.#guardBy(config, opened);
      adopt();
      keeper.adopt(config, firewall);
      // Who was removed may have knocked until this moment.
      await this.#attempt(() => keeper.dropGrants(config));
      if (firewall !== before) await this.#retire(before, old);
      await this.#entrances.closeOthers(config);
      await this.#attempt(() => this.#doors.adopt(config));
      await this.#attempt(() => this.#reports.setMetrics(config));
      await this.#attempt(() => keeper.lookAtHost());
      this.#reports.announce(this.listening);
    });
  }

  /**
   * Guards what another configuration says; the firewall that does. If it
   * cannot, all is as before, and the entrances `opened` for it are closed.
   */
  async #guardBy(config: Config, opened: string[]): Promise<Firewall> {
    const keeper = this.#keeper;
    const { config: old, firewall: before } = keeper;
    const same =
      JSON.stringify(config.firewall) === JSON.stringify(old.firewall);
    let firewall = before;
    try {
      await orFailure(async () => {
        if (!same) firewall = await this.#parts.createFirewall(config);
        // The next would not know the chain in the host's table for its own.
        if (!same && old.firewall.mode === "accept") await before.remove();
        await keeper.apply(config, firewall);
        await keeper.dropGrants(config);
        await this.#gate.set(config, firewall);
        const { runtime, store } = this.#parts;
        store.replay.allow(config.maxSkewMs, runtime.nowMs());
      });
      return firewall;
    } catch (error) {
      await this.#entrances.close(opened);
      if (firewall !== before) await firewall.stop();
      await this.#attempt(async () => {
        await keeper.apply();
        await this.#gate.set(old, before);
      });
      throw error;
    }
  }

  /** Ends the backend that another one has taken over from. */
  async #retire(before: Firewall, old: Config): Promise<void> {
    const { config, firewall } = this.#keeper;
    const isSame = config.firewall.backend === old.firewall.backend;
    await this.#attempt(async () => {
      if (!isSame) await before.remove();
    });
    await this.#attempt(() => before.stop());
    // What it took back at its end is the other's, too.
    if (!isSame) return;
    await this.#attempt(async () => {
      await this.#keeper.apply();
      await this.#gate.set(config, firewall);
    });
  }

  /** Takes guarding back: what was guarded is as it was before the server. */
  unguard(): Promise<void> {
    return this.#keeper.enqueue(() =>
      orFailure(() => this.#keeper.firewall.remove())
    );
  }

  /** Stops listening and ends. Services stay guarded, grants end in the kernel. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.stop();
    await this.#doors.stop();
    await this.#reports.close();
    await this.#entrances.close();
    await this.#receiver.settled();
    await this.#keeper.settled();
    await this.#reports.end();
    await this.#keeper.firewall.stop();
  }

  #every(ms: number, work: () => Promise<void>): void {
    const { runtime } = this.#parts;
    this.#timers.push(runtime.every(ms, () => this.#attempt(work)));
  }

  #attempt(work: () => Promise<void>): Promise<void> {
    return attempt(this.#parts.log, work);
  }
}
