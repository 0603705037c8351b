/**
 * The life of a server: in which order it starts, reloads and stops, and its
 * timers. The way of a packet is `packet/receiver.ts`, `packet/decide.ts`,
 * `grants/change.ts`.
 * @module
 */

import type { Config } from "../config/config.ts";
import { checkConntrack } from "../firewall/conntrack.ts";
import type { Firewall } from "../firewall/firewall.ts";
import { resolveBehind } from "../firewall/nft/rules/behind.ts";
import type { Listener, Runtime, Stoppable } from "../runtime/runtime.ts";
import { clocksOf } from "./state/clock.ts";
import { applyAll, carryOut } from "./grants/change.ts";
import { FleetMember } from "./fleet/member.ts";
import { renewDialects, useDialects } from "./fleet/readers.ts";
import { keepRestored } from "./grants/restore.ts";
import {
  care,
  dropGrants,
  endUsed,
  followClock,
  sweep,
} from "./grants/upkeep.ts";
import { admit } from "./packet/decide.ts";
import { Entrances } from "./packet/entrances.ts";
import { checkGpg } from "./packet/gpg.ts";
import { renewPrefilter, setPrefilter } from "./packet/prefilter.ts";
import { Receiver } from "./packet/receiver.ts";
import { listenForAsks } from "./report/asked.ts";
import { Reports } from "./report/reports.ts";
import { attempt, orFailure } from "./report/log.ts";
import { Sequences } from "./sequences/sequences.ts";
import { MAX_EVENTS_OF_CLIENT } from "./state/history.ts";
import {
  activate,
  type Active,
  loadDialects,
  makeServer,
  type Server,
  type ServerWorld,
} from "./state/server.ts";
import { noteBoot } from "./state/store.ts";

/** Interval of removing ended grants from the ledger, milliseconds. */
const SWEEP_MS = 1000;
/** Interval of writing counters and used grants to the state file, milliseconds. */
const REPORT_MS = 2000;
/** Interval of checking the firewall and dropping old records, milliseconds. */
const CARE_MS = 10_000;

interface ServerSurroundings extends ServerWorld {
  /** Makes the backend that a configuration names. */
  readonly createFirewall: (config: Config) => Promise<Firewall>;
}

export class RunningServer {
  readonly #server: Server;
  readonly #createFirewall: ServerSurroundings["createFirewall"];
  readonly #receiver: Receiver;
  readonly #entrances: Entrances;
  readonly #sequences: Sequences;
  readonly #reports: Reports;
  readonly #timers: Stoppable[] = [];
  #asks: Listener | null = null;
  #fleet: FleetMember | null = null;

  private constructor(
    server: Server,
    createFirewall: ServerSurroundings["createFirewall"],
  ) {
    this.#server = server;
    this.#createFirewall = createFirewall;
    this.#receiver = new Receiver(server);
    this.#entrances = new Entrances(server, this.#receiver);
    this.#sequences = new Sequences(
      server,
      async (change, note, nowMs, once) => {
        const decision = admit(server, change, note, nowMs, once);
        return (await carryOut(server, decision))?.status === "done";
      },
    );
    this.#reports = new Reports(server);
  }

  /** Guards the services, puts back what is still granted, and listens. Throws an OperatorError. */
  static async start(
    surroundings: ServerSurroundings,
    written: Config,
  ): Promise<RunningServer> {
    const { runtime, store, createFirewall } = surroundings;
    const config = await resolved(runtime, written);
    await orFailure(() => {
      store.replay.begin(runtime.nowMs(), noteBoot(runtime, store));
      store.replay.allow(config.maxSkewMs, runtime.nowMs());
      store.ledger.rebase(runtime.nowMs());
    });
    await checkGpg(runtime, config);
    await checkConntrack(runtime, config.services);
    const firewall = await orFailure(() => createFirewall(config));
    const server = await makeServer(surroundings, config, firewall);
    const running = new RunningServer(server, createFirewall);
    try {
      await running.#begin(config);
    } catch (error) {
      await running.#entrances.close();
      await running.#fleet?.stop();
      await server.queue.add(() => firewall.stop());
      throw error;
    }
    running.#reports.announce(running.listening);
    running.#timers.push(await keepRestored(server));
    running.#startTimers();
    await running.#attempt(async () => {
      const update = () => running.#update();
      running.#asks = await listenForAsks(runtime, config.state, update);
    });
    return running;
  }

  async #begin(config: Config): Promise<void> {
    const server = this.#server;
    await orFailure(() => this.#join(config));
    // Ports that are in use are found before anything is guarded.
    await this.#entrances.open(config);
    // A knock may come in already, and waits.
    await server.queue.add(() =>
      orFailure(async () => {
        await applyAll(server, server.active);
        await dropGrants(server, config);
        await sweep(server);
        await setPrefilter(server, server.active);
        await server.host.look(config);
        await care(server);
      })
    );
    this.#fleet?.begin();
    await this.#sequences.adopt(config);
    await this.#reports.setMetrics(config);
    await this.#reports.setVerify(config);
  }

  /** Joins the fleet of a configuration, and leaves another one. Throws FailureError and SystemError. */
  async #join({ fleet }: Config): Promise<void> {
    const server = this.#server;
    await this.#fleet?.stop();
    server.fleet = this.#fleet = null;
    if (!fleet) return;
    server.fleet = this.#fleet = await FleetMember.join(server, fleet);
    await useDialects(server);
  }

  #startTimers(): void {
    const server = this.#server;
    const { runtime, store, log, clock, queue } = server;
    this.#every(SWEEP_MS, () =>
      queue.add(async () => {
        followClock(server);
        await sweep(server);
        this.#sequences.sweep();
        await renewPrefilter(server);
      }));
    this.#every(REPORT_MS, async () => {
      await queue.add(() => endUsed(server));
      await this.#reports.writeCounts();
    });
    this.#every(CARE_MS, () => {
      store.replay.prune(clock.surelyMs(clocksOf(runtime)));
      for (const client of store.history.prune()) {
        const words = `${client}: its part of the history is full: only its ` +
          `latest ${MAX_EVENTS_OF_CLIENT} events are kept`;
        log("warn", words, { client });
      }
      return queue.add(() => care(server));
    });
    // Beside the queue, so that no knock waits for it.
    this.#every(CARE_MS, () => server.host.look(server.active.config));
  }

  /** Brings the state file up to date, for a reader that asked. */
  async #update(): Promise<void> {
    const server = this.#server;
    await this.#attempt(() =>
      server.queue.add(async () => {
        followClock(server);
        await sweep(server);
        await endUsed(server);
      })
    );
    await this.#attempt(() => server.host.look(server.active.config));
    await this.#attempt(() => this.#reports.writeCounts());
  }

  /** The backend in use, in words. */
  get backend(): string {
    return this.#server.active.firewall.name;
  }

  /** Where it listens, in words. */
  get listening(): string[] {
    return this.#entrances.words;
  }

  /** Counts of packets and requests since the start, with the kernel's of this moment. */
  async counts(): Promise<Readonly<Record<string, number>>> {
    await this.#attempt(() => this.#reports.writeCounts());
    return this.#server.counters.all;
  }

  /** True if a knock has opened something since the start. */
  get hasOpened(): boolean {
    return this.#server.hasOpened;
  }

  /**
   * Goes on with another configuration: grants stay, a client that is gone is
   * closed at once. Throws an OperatorError and changes nothing if it cannot.
   */
  reload(written: Config): Promise<void> {
    const server = this.#server;
    return server.queue.add(async () => {
      const old = server.active;
      const config = await resolved(server.runtime, written);
      await checkGpg(server.runtime, config);
      await checkConntrack(server.runtime, config.services);
      const dialects = await loadDialects(config, server.gpg, server.fleet);
      const opened = await this.#entrances.open(config);
      const firewall = await this.#guardBy(config, opened);
      server.active = activate(config, firewall, dialects);
      // Who was removed may have knocked until this moment.
      await this.#attempt(() => dropGrants(server, config));
      if (firewall !== old.firewall) await this.#retire(old);
      await this.#entrances.closeOthers(config);
      await this.#attempt(() => this.#follow(config));
      await this.#attempt(() => this.#sequences.adopt(config));
      await this.#attempt(() => this.#reports.setMetrics(config));
      await this.#attempt(() => this.#reports.setVerify(config));
      await this.#attempt(() => server.host.look(config));
      this.#reports.announce(this.listening);
    });
  }

  /** Goes on in the fleet of another configuration, or as it says of this one. */
  async #follow(config: Config): Promise<void> {
    const same = config.fleet !== null &&
      this.#fleet?.is(config.fleet) === true;
    if (same) {
      this.#fleet!.clients.reread();
      return await renewDialects(this.#server);
    }
    if (!config.fleet && !this.#fleet) return;
    await this.#join(config);
    await renewDialects(this.#server);
    this.#fleet?.begin();
  }

  /**
   * Guards what another configuration says; the firewall that does. If it
   * cannot, all is as before, and the entrances `opened` for it are closed.
   */
  async #guardBy(config: Config, opened: string[]): Promise<Firewall> {
    const server = this.#server;
    const { runtime, store, active: old } = server;
    const same =
      JSON.stringify(config.firewall) === JSON.stringify(old.config.firewall);
    let firewall = old.firewall;
    try {
      await orFailure(async () => {
        if (!same) firewall = await this.#createFirewall(config);
        // An interface has room for one program of XDP.
        if (!same && old.firewall.kernel?.prefilter.kind === "xdp") {
          await old.firewall.kernel.setPrefilter(null);
        }
        // The next would not know the chain in the host's table for its own.
        if (!same && old.config.firewall.mode === "accept") {
          await old.firewall.remove();
        }
        await applyAll(server, { config, firewall });
        await dropGrants(server, config);
        await setPrefilter(server, { config, firewall });
        store.replay.allow(config.maxSkewMs, runtime.nowMs());
      });
      return firewall;
    } catch (error) {
      await this.#entrances.close(opened);
      if (firewall !== old.firewall) await firewall.stop();
      await this.#attempt(() => this.#applyActive());
      throw error;
    }
  }

  /** Ends the backend that another one has taken over from. */
  async #retire(old: Active): Promise<void> {
    const { config } = this.#server.active;
    const isSame = config.firewall.backend === old.config.firewall.backend;
    await this.#attempt(async () => {
      if (!isSame) await old.firewall.remove();
    });
    await this.#attempt(() => old.firewall.stop());
    // What it took back at its end is the other's, too.
    if (isSame) await this.#attempt(() => this.#applyActive());
  }

  async #applyActive(): Promise<void> {
    await applyAll(this.#server, this.#server.active);
    await setPrefilter(this.#server, this.#server.active);
  }

  /** Takes guarding back: what was guarded is as it was before the server. */
  unguard(): Promise<void> {
    const server = this.#server;
    // Nothing puts it back.
    this.#stopTimers();
    return server.queue.add(() =>
      orFailure(() => server.active.firewall.remove())
    );
  }

  /** Stops listening and ends. Services stay guarded, grants end in the kernel. */
  async stop(): Promise<void> {
    this.#stopTimers();
    await this.#asks?.close();
    await this.#sequences.stop();
    await this.#reports.close();
    await this.#entrances.close();
    await this.#receiver.stop();
    await this.#server.queue.settled();
    await this.#fleet?.stop();
    await this.#reports.end();
    await this.#server.active.firewall.stop();
  }

  #stopTimers(): void {
    for (const timer of this.#timers.splice(0)) timer.stop();
  }

  #every(ms: number, work: () => Promise<void>): void {
    const { runtime } = this.#server;
    this.#timers.push(runtime.every(ms, () => this.#attempt(work)));
  }

  #attempt(work: () => Promise<void>): Promise<void> {
    return attempt(this.#server.log, work);
  }
}

/** A configuration with the addresses of hosts behind this machine in place of their names. Throws FirewallError. */
async function resolved(runtime: Runtime, config: Config): Promise<Config> {
  const services = await resolveBehind(runtime, config.services);
  return { ...config, services };
}
