/**
 * The server: datagrams in, replies out. A datagram is judged and recorded in
 * one synchronous step, before the next one is received.
 * @module
 */

import { type Config, dialectsOf } from "../config/config.ts";
import type { Dialect, Opened } from "../dialects/dialect.ts";
import {
  type Firewall,
  FirewallError,
  type KernelGate,
} from "../firewall/firewall.ts";
import {
  type Datagrams,
  type DatagramSource,
  type Listener,
  type Runtime,
  type Stoppable,
  SystemError,
} from "../runtime/runtime.ts";
import { FailureError, OperatorError } from "../values/errors.ts";
import { Budget } from "./budget.ts";
import { type Clocks, ClockWatch } from "./clock_watch.ts";
import { Counters } from "./counters.ts";
import { Doors } from "./doors.ts";
import { createDialects } from "./dialects.ts";
import { Entrances } from "./entrances.ts";
import { checkGpg, Gpg } from "./gpg.ts";
import { stateTrouble } from "./trouble.ts";
import { serveMetrics } from "./metrics.ts";
import { Keeper } from "./keeper.ts";
import { RateCap, sourceOf } from "./rate.ts";
import { createRunner } from "./runner.ts";
import { tagOf, tagWindows, WINDOW_MS } from "../dialects/knock1.ts";
import { publicKeyOf } from "../dialects/knock1.ts";
import type { Log } from "./log.ts";
import type { Store } from "./store.ts";

/** How often ended grants are taken out of the ledger. */
const SWEEP_MS = 1000;
/** How often counters are written down. */
const REPORT_MS = 2000;
/** How often the firewall is looked at, and old records are dropped. */
const CARE_MS = 10_000;

/** What a server is made of. */
export interface ServerParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  /** Makes the backend that a configuration names. */
  readonly createFirewall: (config: Config) => Promise<Firewall>;
}

/** What `status` reads of a running server. */
export interface ServerFact {
  readonly pid: number;
  readonly sinceMs: number;
  /** The backend in words. */
  readonly backend: string;
  /** Such as "[::]:62201". */
  readonly listen: readonly string[];
}

/** A running server. */
export class Server {
  readonly #parts: ServerParts;
  readonly #counters = new Counters();
  readonly #keeper: Keeper;
  readonly #doors: Doors;
  readonly #entrances: Entrances;
  readonly #gpg: Gpg;
  /** What is opened later, and is not done yet. */
  readonly #opening = new Set<Promise<void>>();
  readonly #timers: Stoppable[] = [];
  readonly #rate = new RateCap();
  readonly #budget = new Budget();
  readonly #clock: ClockWatch;
  #metrics: Listener | null = null;
  /** The window whose tags the kernel gate has; null without a gate. */
  #gateWindow: number | null = null;
  readonly #sinceMs: number;
  #config: Config;
  #dialects: readonly Dialect[];

  private constructor(parts: ServerParts, config: Config, firewall: Firewall) {
    this.#parts = parts;
    this.#config = config;
    const { runtime } = parts;
    this.#sinceMs = runtime.nowMs();
    this.#clock = new ClockWatch(this.#clocks());
    this.#gpg = new Gpg(runtime);
    this.#entrances = new Entrances(
      runtime,
      this.#counters,
      (readings, source, socket) => this.#receive(readings, source, socket),
    );
    this.#dialects = createDialects(config, this.#gpg);
    const runner = createRunner(runtime, parts.log);
    this.#keeper = new Keeper(
      { ...parts, counters: this.#counters, runner },
      config,
      firewall,
    );
    this.#doors = new Doors({ ...parts, runner, keeper: this.#keeper });
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
      // Ports that are in use are found before anything is guarded.
      await server.#entrances.open(config);
      await orFailure(async () => {
        await server.#keeper.apply(config);
        await server.#keeper.dropClients(config);
        await server.#keeper.sweep();
        await server.#setGate(config, firewall);
        await server.#keeper.care();
      });
      await server.#doors.adopt(config);
      await server.#setMetrics(config);
    } catch (error) {
      await server.#entrances.close();
      await firewall.stop();
      throw error;
    }
    server.#announce();
    server.#warn();
    const every = (ms: number, work: () => void | Promise<void>) =>
      server.#timers.push(runtime.every(ms, () => server.#attempt(work)));
    every(SWEEP_MS, () =>
      server.#keeper.enqueue(async () => {
        server.#lookAtClock();
        await server.#keeper.sweep();
        server.#doors.sweep();
        await server.#renewGate();
      }));
    every(REPORT_MS, () => server.#report());
    every(CARE_MS, () => {
      store.replay.prune(server.#clock.surelyMs(server.#clocks()));
      store.history.prune();
      return server.#keeper.enqueue(() => server.#keeper.care());
    });
    return server;
  }

  /** The backend in use, in words. */
  get backend(): string {
    return this.#keeper.firewall.name;
  }

  /** Where it listens, in words. */
  get listening(): string[] {
    return this.#entrances.words;
  }

  /**
   * Goes on with another configuration: grants stay, a client that is gone is
   * closed at once. Throws an OperatorError and changes nothing if it cannot.
   */
  reload(config: Config): Promise<void> {
    return this.#keeper.enqueue(async () => {
      const keeper = this.#keeper;
      const old = this.#config;
      const before = keeper.firewall;
      const same =
        JSON.stringify(config.firewall) === JSON.stringify(old.firewall);
      await checkGpg(this.#parts.runtime, config);
      const opened = await this.#entrances.open(config);
      let firewall = before;
      try {
        await orFailure(async () => {
          if (!same) firewall = await this.#parts.createFirewall(config);
          // The next would not know the chain in the host's table for its own.
          if (!same && old.firewall.mode === "accept") await before.remove();
          await keeper.apply(config, firewall);
          await keeper.dropClients(config);
          await this.#setGate(config, firewall);
          const { runtime, store } = this.#parts;
          store.replay.allow(config.maxSkewMs, runtime.nowMs());
        });
      } catch (error) {
        await this.#entrances.close(opened);
        if (firewall !== before) await firewall.stop();
        await this.#attempt(async () => {
          await keeper.apply(old, before);
          await this.#setGate(old, before);
        });
        throw error;
      }
      this.#config = config;
      this.#dialects = createDialects(config, this.#gpg);
      keeper.adopt(config, firewall);
      // Who was removed may have knocked until this moment.
      await this.#attempt(() => keeper.dropClients(config));
      if (firewall !== before) await this.#retire(before, old);
      await this.#entrances.closeOthers(config);
      await this.#attempt(() => this.#doors.adopt(config));
      await this.#attempt(() => this.#setMetrics(config));
      this.#announce();
      this.#warn();
    });
  }

  /** Ends the backend that another one has taken over from. */
  async #retire(before: Firewall, old: Config): Promise<void> {
    const config = this.#config;
    const { firewall } = this.#keeper;
    const isSame = config.firewall.backend === old.firewall.backend;
    await this.#attempt(async () => {
      if (!isSame) await before.remove();
    });
    await this.#attempt(() => before.stop());
    // What it took back at its end is the other's, too.
    if (!isSame) return;
    await this.#attempt(async () => {
      await this.#keeper.apply(config, firewall);
      await this.#setGate(config, firewall);
    });
  }

  /** Whether a knock has opened something since the start. */
  get hasOpened(): boolean {
    return this.#keeper.hasOpened;
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
    await this.#metrics?.close();
    await this.#entrances.close();
    await Promise.all(this.#opening);
    await this.#keeper.settled();
    await this.#attempt(async () => {
      await this.#report();
      this.#parts.store.setFact("server", null);
    });
    await this.#keeper.firewall.stop();
  }

  /** Judges one packet. Never throws, whatever came. */
  #receive(
    readings: readonly Uint8Array[],
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const nowMs = this.#parts.runtime.nowMs();
    this.#counters.add("received");
    let opened: Opened = { ok: false, why: "form" };
    for (const bytes of readings) {
      opened = this.#open(bytes, source, nowMs);
      if (opened.ok || opened.later) break;
    }
    if (opened.ok || !opened.later) this.#decide(opened, source, socket);
    else this.#openLater(opened.later(), source, socket);
  }

  #openLater(
    later: Promise<Opened>,
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const opening = later.then((opened) =>
      this.#decide(opened, source, socket)
    );
    this.#opening.add(opening);
    opening.finally(() => this.#opening.delete(opening));
  }

  /** Judges what was opened, by the clock of this moment. */
  #decide(
    opened: Opened,
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const { runtime } = this.#parts;
    if (!opened.ok) return this.#counters.add(`refused: ${opened.why}`);
    this.#attempt(() => this.#lookAtClock());
    const { request, seal } = opened;
    const answer = this.#keeper.decide(request, source.host, runtime.nowMs());
    if (!answer) return;
    const reply = async () => {
      const settled = await answer;
      if (!socket || !request.wantsReply || !this.#config.reply) return;
      await socket.send(seal(settled, runtime.random(32)), source);
    };
    reply().catch((error) => {
      // A reply that cannot be sent is as good as one that was lost.
      if (!(error instanceof SystemError)) throw error;
      this.#counters.add("failed: reply");
    });
  }

  /** Opens a packet in the first dialect that can; several may have its form. */
  #open(bytes: Uint8Array, { host }: DatagramSource, nowMs: number): Opened {
    const { runtime, store: { replay } } = this.#parts;
    const seen = (identity: Uint8Array) => replay.seen(identity);
    let opened: Opened = { ok: false, why: "form" };
    for (const dialect of this.#dialects) {
      if (!dialect.recognises(bytes)) continue;
      const { name } = dialect;
      let costs = false;
      const mayCost = () =>
        costs = this.#budget.allows(name, nowMs) &&
          this.#rate.take(sourceOf(host), nowMs);
      const startMs = runtime.monotonicMs();
      opened = dialect.open(bytes, { nowMs, seen, mayCost });
      if (costs) {
        this.#budget.spend(name, runtime.monotonicMs() - startMs, nowMs);
      }
      if (opened.ok || opened.later) break;
    }
    return opened;
  }

  /** Has the kernel sort out junk, where every packet must be a knock/1. */
  async #setGate(config: Config, firewall: Firewall): Promise<void> {
    const nowMs = this.#parts.runtime.nowMs();
    const gate = kernelGate(config, nowMs);
    this.#gateWindow = gate.tags.length > 0 && firewall.setGate
      ? Math.floor(nowMs / WINDOW_MS)
      : null;
    await firewall.setGate?.(gate);
  }

  #clocks(): Clocks {
    const { runtime } = this.#parts;
    return { nowMs: runtime.nowMs(), monotonicMs: runtime.monotonicMs() };
  }

  /**
   * Keeps grants from living longer because the clock was set. Set back: what
   * is left of them stays. Set forward: they end by it, for a machine that
   * slept looks the same.
   */
  #lookAtClock(): void {
    const { store, log } = this.#parts;
    const clocks = this.#clocks();
    const jumpMs = this.#clock.look(clocks);
    if (jumpMs === 0) return;
    if (jumpMs < 0) store.ledger.shift(jumpMs);
    store.replay.shift(jumpMs);
    this.#clock.note(clocks);
    const seconds = Math.round(Math.abs(jumpMs) / 1000);
    const way = jumpMs < 0 ? "back" : "forward";
    log("warn", `the clock was set ${way} by ${seconds} s`);
    this.#attempt(() =>
      this.#keeper.enqueue(() => this.#keeper.apply(this.#config))
    );
  }

  async #renewGate(): Promise<void> {
    const window = Math.floor(this.#parts.runtime.nowMs() / WINDOW_MS);
    if (this.#gateWindow === null || this.#gateWindow === window) return;
    await this.#setGate(this.#config, this.#keeper.firewall);
  }

  #announce(): void {
    const { runtime, store } = this.#parts;
    const fact: ServerFact = {
      pid: runtime.pid,
      sinceMs: this.#sinceMs,
      backend: this.backend,
      listen: this.listening,
    };
    this.#attempt(() => store.setFact("server", fact));
  }

  #warn(): void {
    for (const words of this.#config.warnings) {
      this.#parts.log("warn", words);
    }
  }

  async #setMetrics({ metrics }: Config): Promise<void> {
    const at = this.#metrics?.at;
    if (at?.host === metrics?.host && at?.port === metrics?.port) return;
    await this.#metrics?.close();
    const { runtime, store } = this.#parts;
    const sinceMs = this.#sinceMs;
    this.#metrics = metrics && await serveMetrics(runtime, metrics, () => ({
      counts: this.#counters.all,
      grants: store.ledger.countLive(runtime.nowMs()),
      sinceMs,
    }));
  }

  async #report(): Promise<void> {
    const kernel = await this.#keeper.firewall.counters?.() ?? {};
    for (const [name, count] of Object.entries(kernel)) {
      this.#counters.set(name, count);
    }
    const counts = this.#counters.takeChanged();
    if (counts) this.#parts.store.setFact("counters", counts);
  }

  /** Does what may fail for a while, a full disk say: logged, and tried again by the next turn. */
  async #attempt(work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const isTold = error instanceof FirewallError ||
        error instanceof OperatorError;
      this.#parts.log("error", isTold ? error.message : stateTrouble(error));
    }
  }
}

/** What the kernel may sort out: all that is no knock/1, where nothing else is spoken; else what is too much. */
function kernelGate(config: Config, nowMs: number): KernelGate {
  const ports = config.listen.map(({ port }) => port);
  const used = config.clients.flatMap(dialectsOf);
  if (used.some((dialect) => dialect !== "knock")) {
    return { ports: [], otherPorts: ports, tags: [] };
  }
  const server = publicKeyOf(config.key);
  // One window more: the timer that renews them may be late.
  const windows = tagWindows(
    nowMs + WINDOW_MS / 2,
    config.maxSkewMs + WINDOW_MS / 2,
  );
  return {
    ports,
    otherPorts: [],
    tags: windows.map((window) => tagOf(server, window)),
  };
}

/** Notes which start of the machine this is; whether it is another than before. */
function noteBoot(runtime: Runtime, store: Store): boolean {
  let boot = "unknown";
  try {
    boot = runtime.files.readText("/proc/sys/kernel/random/boot_id").trim();
  } catch {
    // Only Linux tells.
  }
  const before = store.fact("boot");
  if (before !== boot) store.setFact("boot", boot);
  return before !== undefined && before !== boot;
}

async function orFailure<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SystemError) {
      throw new FailureError(stateTrouble(error));
    }
    if (!(error instanceof FirewallError)) throw error;
    throw new FailureError(error.message, error.hint);
  }
}
