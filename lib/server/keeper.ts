/**
 * The keeper of the door: judges and records a request in one synchronous
 * step, and then has the firewall do it, one change after the other.
 * Protocol, "The order of judging", steps 6 to 9.
 * @module
 */

import type { Client, Config } from "../config/config.ts";
import type { Answer, Request } from "../dialects/dialect.ts";
import { type Firewall, FirewallError } from "../firewall/firewall.ts";
import { type Runtime, SystemError } from "../runtime/runtime.ts";
import type { PortRange } from "../values/ports.ts";
import type { Counters } from "./counters.ts";
import type { EventName } from "./history.ts";
import { isTimely, judge, type Verdict } from "./judge.ts";
import { type Entry, isWithin, mergeEntries } from "./ledger.ts";
import type { Level, Log } from "./log.ts";
import {
  explainRefusal,
  explainSkew,
  formatPorts,
  formatUntil,
} from "./messages.ts";
import type { Store } from "./store.ts";

/** No more grants than this are open at a time, whoever asks. */
const MAX_GRANTS = 250_000;

/** What a keeper works with. */
export interface KeeperParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
}

type Granted = Extract<Verdict, { ok: true }>;

/** Keeps the ledger and the firewall in step. */
export class Keeper {
  readonly #parts: KeeperParts;
  #config: Config;
  #clients = new Map<string, Client>();
  #firewall: Firewall;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(parts: KeeperParts, config: Config, firewall: Firewall) {
    this.#parts = parts;
    this.#config = config;
    this.#firewall = firewall;
    this.adopt(config, firewall);
  }

  get firewall(): Firewall {
    return this.#firewall;
  }

  /** Judges by this configuration from now on. */
  adopt(config: Config, firewall: Firewall): void {
    this.#config = config;
    this.#firewall = firewall;
    this.#clients = new Map(config.clients.map((one) => [one.name, one]));
  }

  /** Runs a change of the firewall after those before it. */
  enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {}); // who asked for it hears of it
    return result;
  }

  /** Resolves when all changes so far are done. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  /**
   * Decides on an authentic request. Null is silence: a stamp out of time, a
   * replay. What it returns otherwise is judged and recorded already, and
   * settles when the firewall has done it.
   */
  decide(
    request: Request,
    source: string,
    nowMs: number,
  ): Promise<Answer> | null {
    const { store, counters } = this.#parts;
    const client = this.#clients.get(request.client);
    if (!client) return this.#silence("unknown client");
    if (
      !isTimely(request, nowMs, this.#config.maxSkewMs) ||
      store.replay.isForgotten(request.timestampMs)
    ) {
      const words = explainSkew(request.timestampMs - nowMs);
      this.#say("warn", "refused", request, source, words);
      return this.#silence("time");
    }
    const answer = (status: Answer["status"], granted?: Granted) =>
      this.#answer(request, source, status, granted);
    const { identity } = request;
    const untilMs = request.timestampMs + this.#config.maxSkewMs;
    if (!store.replay.note(identity, untilMs)) return this.#silence("replay");
    try {
      const decided = store.transaction(() => {
        if (!store.replay.record(identity, untilMs)) return null;
        const verdict = judge(request, client, source, nowMs);
        return {
          verdict,
          ended: this.#record(request, verdict, source, nowMs),
        };
      });
      if (!decided) return this.#silence("replay");
      const { verdict, ended } = decided;
      if (!verdict.ok) {
        counters.add(`refused: ${verdict.why}`);
        const words = explainRefusal(verdict.why);
        this.#say("warn", "refused", request, source, words);
        return Promise.resolve(answer("refused"));
      }
      return this.enqueue(async () => {
        const done = await this.#carryOut(request, verdict, ended);
        return answer(done ? "done" : "failed", verdict);
      });
    } catch (error) {
      counters.add("failed: state");
      this.#say("error", "failed", request, source, stateTrouble(error));
      return Promise.resolve(answer("failed"));
    }
  }

  /** Has the firewall hold exactly what a configuration and the ledger say. */
  apply(config: Config, firewall = this.#firewall): Promise<void> {
    const nowMs = this.#parts.runtime.nowMs();
    const grants = mergeEntries(this.#parts.store.ledger.live(nowMs));
    return firewall.apply(config.services, grants, nowMs);
  }

  /** Takes ended grants out of the ledger: the kernel ended them by itself. */
  sweep(): void {
    const { runtime, store } = this.#parts;
    const ended = store.ledger.ended(runtime.nowMs());
    if (ended.length > 0) this.#end(ended, "end", "");
  }

  /** Takes the grants of clients that are gone out of the ledger. */
  dropClients(config: Config): void {
    const { runtime, store, log } = this.#parts;
    const names = new Set(config.clients.map(({ name }) => name));
    const gone = store.ledger.live(runtime.nowMs()).filter(({ client }) =>
      !names.has(client)
    );
    if (gone.length > 0) this.#end(gone, "close", "the client was removed");
    for (const client of new Set(gone.map((entry) => entry.client))) {
      log("info", `close ${client}: the client was removed`, { client });
    }
  }

  /** Puts the firewall back if somebody changed what is ours. */
  async care(): Promise<void> {
    if (await this.#firewall.intact()) return;
    this.#parts.log(
      "warn",
      "the firewall was changed from outside: putting it back",
    );
    await this.apply(this.#config);
  }

  #silence(why: string): null {
    this.#parts.counters.add(`refused: ${why}`);
    return null;
  }

  /** Writes down what was decided; the entries that a `close` ends. */
  #record(
    request: Request,
    verdict: Verdict,
    source: string,
    nowMs: number,
  ): Entry[] {
    const { ledger } = this.#parts.store;
    if (!verdict.ok) {
      this.#remember("refused", request, {
        address: request.address ?? source,
        ports: request.ports,
        seconds: 0,
      }, explainRefusal(verdict.why));
      return [];
    }
    this.#remember(request.action, request, verdict);
    if (request.action === "open") {
      if (ledger.size + verdict.ports.length > MAX_GRANTS) {
        throw new SystemError("", `${MAX_GRANTS} grants are open already`);
      }
      const entries = toEntries(request, verdict, nowMs);
      for (const entry of entries) ledger.put(entry);
      return [];
    }
    const ended = ledger.ofAddress(verdict.address, nowMs).filter((entry) =>
      entry.client === request.client && isWithin(entry, verdict.ports)
    );
    for (const entry of ended) ledger.remove(entry);
    return ended;
  }

  /** Step 9; whether it was done. What could not be opened is taken out of the ledger again. */
  async #carryOut(
    request: Request,
    granted: Granted,
    ended: readonly Entry[],
  ): Promise<boolean> {
    const { runtime, counters } = this.#parts;
    const nowMs = runtime.nowMs();
    const { action } = request;
    const { address, ports, seconds } = granted;
    try {
      if (action === "open") await this.#open(granted, nowMs);
      if (action === "close") await this.#close(ended, nowMs);
      counters.add(action);
      const words = action === "open" ? formatUntil(nowMs, seconds) : "";
      const level = action === "ping" ? "debug" : "info";
      this.#say(level, action, request, address, words, ports);
      return true;
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error;
      counters.add("failed: firewall");
      this.#say("error", "failed", request, address, error.message, ports);
      this.#forget(request, granted, nowMs, error.message);
      return false;
    }
  }

  async #open({ address, ports }: Granted, nowMs: number): Promise<void> {
    const { ledger } = this.#parts.store;
    const entries = ledger.ofAddress(address, nowMs);
    const wanted = entries.filter((entry) => isWithin(entry, ports));
    await this.#firewall.open(
      mergeEntries(wanted),
      mergeEntries(entries),
      nowMs,
    );
  }

  /** Ends entries that are out of the ledger already; what another client has there stays. */
  async #close(ended: readonly Entry[], nowMs: number): Promise<void> {
    const { ledger } = this.#parts.store;
    for (const address of new Set(ended.map((entry) => entry.address))) {
      const stays = mergeEntries(ledger.ofAddress(address, nowMs));
      const gone = mergeEntries(ended.filter((one) => one.address === address));
      await this.#firewall.close(gone, stays, nowMs);
      // A neighbour's grant for the same ports may end earlier than ours did.
      if (stays.length > 0) await this.#firewall.open(stays, stays, nowMs);
    }
  }

  #forget(
    request: Request,
    granted: Granted,
    nowMs: number,
    reason: string,
  ): void {
    const { store, log } = this.#parts;
    try {
      this.#remember("failed", request, granted, reason);
      if (request.action !== "open") return;
      const entries = toEntries(request, granted, nowMs);
      for (const entry of entries) store.ledger.remove(entry);
    } catch (error) {
      log("error", stateTrouble(error));
    }
  }

  #end(entries: readonly Entry[], event: EventName, reason: string): void {
    const { runtime, store } = this.#parts;
    store.transaction(() => {
      for (const entry of entries) {
        store.ledger.remove(entry);
        store.history.add({
          atMs: runtime.nowMs(),
          event,
          client: entry.client,
          address: entry.address,
          ports: formatPorts([entry.ports]),
          seconds: 0,
          dialect: "",
          reason,
        });
      }
    });
  }

  #answer(
    request: Request,
    source: string,
    status: Answer["status"],
    granted?: Granted,
  ): Answer {
    const done = status === "done" ? granted : undefined;
    return {
      status,
      count: countPorts(done?.ports ?? []),
      seconds: done?.seconds ?? 0,
      timeMs: this.#parts.runtime.nowMs(),
      address: granted?.address ?? request.address ?? source,
    };
  }

  #remember(
    event: EventName,
    request: Request,
    { address, ports, seconds }: Pick<Granted, "address" | "ports" | "seconds">,
    reason = "",
  ): void {
    this.#parts.store.history.add({
      atMs: this.#parts.runtime.nowMs(),
      event,
      client: request.client,
      address,
      ports: formatPorts(ports),
      seconds,
      dialect: request.dialect,
      reason,
    });
  }

  #say(
    level: Level,
    event: EventName,
    request: Request,
    address: string,
    words: string,
    ports = request.ports,
  ): void {
    const list = formatPorts(ports);
    const { client, dialect } = request;
    const subject = [event, client, address, list].filter(Boolean).join(" ");
    const colon = event === "refused" || event === "failed" ? ":" : "";
    this.#parts.log(
      level,
      words ? `${subject}${colon} ${words}` : subject,
      { event, client, address, ports: list, dialect },
    );
  }
}

/** What is said when the state file cannot be written; anything else is a bug and thrown on. */
export function stateTrouble(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return `cannot write the state file: ${error.message}`;
}

function toEntries(
  { client }: Request,
  { address, ports, seconds }: Granted,
  nowMs: number,
): Entry[] {
  const untilMs = nowMs + seconds * 1000;
  return ports.map((one) => ({
    client,
    address,
    ports: one,
    sinceMs: nowMs,
    untilMs,
    once: false,
    to: null,
  }));
}

/** How many ports these are, as far as a reply can say (16 bits). */
function countPorts(ports: readonly PortRange[]): number {
  let count = 0;
  for (const { first, last } of ports) count += last - first + 1;
  return Math.min(count, 0xffff);
}
