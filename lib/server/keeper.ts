/**
 * The keeper of the door: judges and records a request in one synchronous
 * step, and then has the firewall do it, one change after the other.
 * Protocol, "The order of judging", steps 6 to 9.
 * @module
 */

import type { Client, Config } from "../config/config.ts";
import { kernelSequences } from "../config/doors.ts";
import type { Action, Answer, Request } from "../dialects/dialect.ts";
import { STEP_MS } from "../dialects/one_time_code.ts";
import { endConnections } from "../firewall/conntrack.ts";
import { type Firewall, FirewallError } from "../firewall/firewall.ts";
import { type Runtime, SystemError } from "../runtime/runtime.ts";
import { kernelRules } from "../sequences/ruleset.ts";
import { grantee } from "../sequences/sequence.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
  withoutPorts,
} from "../values/ports.ts";
import { type Asker, Chronicle } from "./chronicle.ts";
import type { Counters } from "./counters.ts";
import { isTimely, judge, type Verdict } from "./judge.ts";
import { type Entry, isWithin, mergeEntries } from "./ledger.ts";
import type { Log } from "./log.ts";
import { explainRefusal, explainSkew, formatUntil } from "./messages.ts";
import { type Rate, RateCap } from "./rate.ts";
import { codeIdentity } from "./replay.ts";
import type { Runner } from "./runner.ts";
import type { Store } from "./store.ts";
import { stateTrouble } from "./trouble.ts";

/** No more grants than this are open at a time, whoever asks. */
const MAX_GRANTS = 250_000;

/**
 * No more of them than this are for one client at one address; of one with
 * wide ranges they would be as many as there are ports, each looked at with
 * every change.
 */
const MAX_GRANTS_AT_ADDRESS = 1024;

/** Requests of one client that wait for the firewall; more fail. */
const MAX_WAITING = 256;

/**
 * Wrong one-time codes of a client, or nobody would have to know the right
 * one: RFC 4226 §7.3.
 */
const WRONG_CODES: Rate = { perSecond: 1 / 60, burst: 5 };

/** Refusals of a client that are told each: more would push all else out of the history. */
const TOLD_REFUSALS: Rate = { perSecond: 1 / 10, burst: 60 };

/** How long a grant that could not be closed waits for the next try. */
const CLOSE_AGAIN_MS = 60_000;

/** What a keeper works with. */
export interface KeeperParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
  /** Runs hooks and commands. */
  readonly runner: Runner;
}

type Granted = Extract<Verdict, { ok: true }>;

/** What is done for a client or a sequence. */
interface Deed extends Asker {
  readonly action: Action;
  /** Whether the kernel has done it by itself already. */
  readonly inKernel?: boolean;
}

/** What a complete port sequence does: it has no client whose policy says no. */
export interface Claim extends Deed {
  /** Canonical. */
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** 0 for all but `open`. */
  readonly seconds: number;
  /** Writes down what belongs to the same record. */
  readonly record?: () => void;
}

/** Keeps the ledger and the firewall in step. */
export class Keeper {
  readonly #parts: KeeperParts;
  readonly #chronicle: Chronicle;
  #config: Config;
  #clients = new Map<string, Client>();
  /** Whose grants are for one connection. */
  #once = new Set<string>();
  #firewall: Firewall;
  #queue: Promise<unknown> = Promise.resolve();
  /** Addresses whose grants could not be closed, and when to try again. */
  readonly #closeAgainMs = new Map<string, number>();
  readonly #guesses = new RateCap(WRONG_CODES);
  readonly #refusals = new RateCap(TOLD_REFUSALS);
  /** Whose refusals are not told at the moment. */
  readonly #hushed = new Set<string>();
  /** How many requests of each client wait for the firewall. */
  readonly #waiting = new Map<string, number>();
  #hasOpened = false;
  /** Why the host's own chain keeps grants from counting, as last said. */
  #jumpProblem: string | null = null;

  constructor(parts: KeeperParts, config: Config, firewall: Firewall) {
    this.#parts = parts;
    this.#chronicle = new Chronicle(parts.runtime, parts.store, parts.log);
    this.#config = config;
    this.#firewall = firewall;
    this.adopt(config, firewall);
  }

  get firewall(): Firewall {
    return this.#firewall;
  }

  /** Whether a knock has opened something since the start. */
  get hasOpened(): boolean {
    return this.#hasOpened;
  }

  /** Judges by this configuration from now on. */
  adopt(config: Config, firewall: Firewall): void {
    this.#config = config;
    this.#firewall = firewall;
    this.#clients = new Map(config.clients.map((one) => [one.name, one]));
    this.#once = new Set([
      ...config.clients.filter(({ once }) => once).map(({ name }) => name),
      ...config.doors.filter(({ opens }) => opens[0]?.once)
        .map(({ name }) => grantee(name)),
    ]);
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
    const asked = {
      address: request.address ?? source,
      ports: request.ports,
      seconds: 0,
    };
    const { maxSkewMs } = this.#config;
    if (
      !isTimely(request, nowMs, maxSkewMs) ||
      store.replay.isForgotten(request.timestampMs)
    ) {
      // A copy of an old packet comes here, too, from anybody.
      if (this.#tells(client.name, "time", nowMs)) {
        const words = explainSkew(request.timestampMs - nowMs);
        this.#chronicle.say("warn", "refused", request, asked, words);
      }
      return this.#silence("time");
    }
    const untilMs = request.timestampMs + maxSkewMs;
    if (!store.replay.note(request.identity, untilMs)) {
      return this.#silence("replay");
    }
    const answer = (status: Answer["status"], granted?: Granted) =>
      this.#answer(status, asked.address, granted);
    if ((this.#waiting.get(client.name) ?? 0) >= MAX_WAITING) {
      counters.add("failed: busy");
      if (this.#tells(client.name, "policy", nowMs)) {
        const words = `${MAX_WAITING} of its requests wait already`;
        this.#chronicle.say("error", "failed", request, asked, words);
      }
      return Promise.resolve(answer("failed"));
    }
    try {
      const decided = store.transaction(() => {
        if (!store.replay.record(request.identity, untilMs)) return null;
        const verdict = this.#judge(request, client, source, nowMs);
        if (verdict.ok) {
          const before = this.#record(request, verdict, nowMs);
          return { verdict, before, told: true };
        }
        const told = this.#tells(client.name, "policy", nowMs);
        if (told) {
          const reason = explainRefusal(verdict.why);
          this.#chronicle.remember("refused", request, asked, reason);
        }
        return { verdict, before: [], told };
      });
      if (!decided) return this.#silence("replay");
      const { verdict, before, told } = decided;
      if (!verdict.ok) {
        counters.add(`refused: ${verdict.why}`);
        if (told) {
          const words = explainRefusal(verdict.why);
          this.#chronicle.say("warn", "refused", request, asked, words);
        }
        return Promise.resolve(answer("refused"));
      }
      if (request.action === "run") {
        // Not in the queue: a long command keeps no door shut.
        return this.#runCommand(request, verdict)
          .then((done) => answer(done ? "done" : "failed", verdict));
      }
      this.#wait(client.name, 1);
      return this.enqueue(async () => {
        const done = await this.#carryOut(request, verdict, before);
        return answer(done ? "done" : "failed", verdict);
      }).finally(() => this.#wait(client.name, -1));
    } catch (error) {
      const words = stateTrouble(error);
      counters.add("failed: state");
      this.#chronicle.say("error", "failed", request, asked, words);
      return Promise.resolve(answer("failed"));
    }
  }

  /** Does what a complete port sequence does; whether it could be done. */
  async admit(claim: Claim, nowMs: number): Promise<boolean> {
    const { store, counters } = this.#parts;
    const granted: Granted = {
      ...{ ok: true, to: null, codeStep: null, command: claim.command },
      ...{ address: claim.address, ports: claim.ports },
      seconds: claim.seconds,
    };
    let before: readonly Entry[];
    try {
      before = store.transaction(() => {
        claim.record?.();
        return this.#record(claim, granted, nowMs);
      });
    } catch (error) {
      const words = stateTrouble(error);
      counters.add("failed: state");
      this.#chronicle.say("error", "failed", claim, granted, words);
      return false;
    }
    return await this.enqueue(() => this.#carryOut(claim, granted, before));
  }

  /** Has the firewall hold exactly what a configuration and the ledger say. */
  apply(config: Config, firewall = this.#firewall): Promise<void> {
    const nowMs = this.#parts.runtime.nowMs();
    firewall.setSequences?.(kernelRules(kernelSequences(config.doors)));
    const names = grantees(config);
    const live = this.#parts.store.ledger.live(nowMs);
    const grants = mergeEntries(live.filter(({ client }) => names.has(client)))
      .filter(({ to }) => !to || forwards(config));
    return firewall.apply(config.services, grants, nowMs);
  }

  /** Takes ended grants out of the ledger, and closes them where the kernel does not. */
  async sweep(): Promise<void> {
    const { runtime, store, runner } = this.#parts;
    const nowMs = runtime.nowMs();
    const over = store.ledger.ended(nowMs);
    if (over.length === 0) return;
    const ended = this.#firewall.endsGrants
      ? over
      : await this.#closeEach(over, nowMs);
    if (ended.length === 0) return;
    this.#end(ended, "");
    for (const entry of ended) runner.hook(this.#config.hooks.close, entry);
  }

  /** Closes entries, one address after the other; those that it could. */
  async #closeEach(over: readonly Entry[], nowMs: number): Promise<Entry[]> {
    const closed: Entry[] = [];
    for (const [address, own] of Map.groupBy(over, (one) => one.address)) {
      if ((this.#closeAgainMs.get(address) ?? 0) > nowMs) continue;
      this.#closeAgainMs.delete(address);
      try {
        await this.#close(own, nowMs);
        closed.push(...own);
      } catch (error) {
        if (!(error instanceof FirewallError)) throw error;
        // It may go on failing, and must not keep the others open.
        this.#closeAgainMs.set(address, nowMs + CLOSE_AGAIN_MS);
        const words = `cannot end what is open for ${address}, and will try ` +
          `again in ${CLOSE_AGAIN_MS / 1000} s: ${error.message}`;
        this.#parts.log("error", words, { address });
      }
    }
    return closed;
  }

  /** Takes the grants of clients that are gone out of the ledger, and closes them. */
  async dropClients(config: Config): Promise<void> {
    const { runtime, store, log, runner } = this.#parts;
    const nowMs = runtime.nowMs();
    const names = grantees(config);
    const gone = store.ledger.live(nowMs).filter(({ client }) =>
      !names.has(client)
    );
    if (gone.length === 0) return;
    this.#end(gone, "the client was removed");
    try {
      await this.#close(gone, nowMs);
    } catch (error) {
      this.#putBack(gone);
      throw error;
    }
    for (const entry of gone) runner.hook(this.#config.hooks.close, entry);
    for (const client of new Set(gone.map((entry) => entry.client))) {
      log("info", `close ${client}: the client was removed`, { client });
    }
  }

  /** Puts the firewall back if somebody changed what is ours, and says what only the admin can mend. */
  async care(): Promise<void> {
    const problem = await this.#firewall.jumpProblem?.() ?? null;
    if (problem !== this.#jumpProblem) {
      if (problem) this.#parts.log("warn", `no knock can open: ${problem}`);
      else this.#parts.log("info", "knocks can open again");
    }
    this.#jumpProblem = problem;
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

  /** Whether a refusal of a client is to be told; that it is not is told once. */
  #tells(client: string, kind: "time" | "policy", nowMs: number): boolean {
    const name = `${kind} ${client}`;
    if (this.#refusals.take(name, nowMs)) {
      this.#hushed.delete(name);
      return true;
    }
    if (this.#hushed.has(name)) return false;
    this.#hushed.add(name);
    const words = `refused ${client}: too often to be told each time: ` +
      "see the counts of `knock status`";
    this.#parts.log("warn", words, { client });
    return false;
  }

  #wait(client: string, change: 1 | -1): void {
    const count = (this.#waiting.get(client) ?? 0) + change;
    if (count > 0) this.#waiting.set(client, count);
    else this.#waiting.delete(client);
  }

  #judge(
    request: Request,
    client: Client,
    source: string,
    nowMs: number,
  ): Verdict {
    const ownAddresses = request.forward
      ? this.#parts.runtime.ownAddresses()
      : [];
    const machine = { ...this.#config, ownAddresses };
    const isGuess = client.code !== null && request.code !== null;
    if (isGuess && !this.#guesses.has(client.name, nowMs)) {
      return { ok: false, why: "code tries" };
    }
    const verdict = judge(request, client, source, nowMs, machine);
    if (isGuess && !verdict.ok && verdict.why === "code") {
      this.#guesses.take(client.name, nowMs);
    }
    if (!verdict.ok || verdict.codeStep === null) return verdict;
    // Each code once: its use is recorded as long as it could come again, with
    // a stamp from the step before the code's to the one after it.
    const used = codeIdentity(client.name, verdict.codeStep);
    const untilMs = nowMs + 2 * this.#config.maxSkewMs + 3 * STEP_MS;
    return this.#parts.store.replay.record(used, untilMs)
      ? verdict
      : { ok: false, why: "code used" };
  }

  /**
   * Writes down what was decided; the client's entries for these ports as they
   * were, which a `close` ends: of a range the part that it names.
   */
  #record(request: Deed, granted: Granted, nowMs: number): Entry[] {
    const { ledger } = this.#parts.store;
    this.#chronicle.remember(request.action, request, granted);
    const own = ledger.ofAddress(granted.address, nowMs).filter(({ client }) =>
      client === request.client
    );
    if (request.action === "close") {
      const ended = own.filter((entry) =>
        granted.ports.some((range) => overlapPorts(range, entry.ports))
      );
      for (const entry of ended) ledger.remove(entry);
      // Where there is no room for what is left of ranges, that ends, too.
      const left = ended.flatMap((entry) =>
        withoutPorts(entry.ports, granted.ports)
          .map((ports) => ({ ...entry, ports }))
      );
      const held = own.length - ended.length;
      if (held + left.length <= MAX_GRANTS_AT_ADDRESS) {
        for (const entry of left) ledger.put(entry);
      }
      return ended;
    }
    if (request.action === "open") {
      if (!ledger.hasRoom(granted.ports.length, MAX_GRANTS)) {
        throw new SystemError("", `${MAX_GRANTS} grants are open already`);
      }
      const isHeld = (ports: PortRange) =>
        own.some((entry) =>
          formatPortRange(entry.ports) === formatPortRange(ports)
        );
      if (
        own.length >= MAX_GRANTS_AT_ADDRESS && !granted.ports.every(isHeld)
      ) {
        throw new SystemError(
          "",
          `${own.length} grants are open for ${granted.address} already`,
        );
      }
      for (const entry of this.#entries(request, granted, nowMs)) {
        ledger.put(entry);
      }
    }
    return own.filter((entry) => isWithin(entry, granted.ports));
  }

  /** Step 9; whether it was done. What could not be opened is taken out of the ledger again. */
  async #carryOut(
    request: Deed,
    granted: Granted,
    before: readonly Entry[],
  ): Promise<boolean> {
    const { runtime, counters, runner } = this.#parts;
    const { hooks } = this.#config;
    const nowMs = runtime.nowMs();
    const { action, inKernel = false } = request;
    try {
      if (action === "open") {
        if (inKernel) await this.#prolong(granted, nowMs);
        else await this.#open(request, granted, nowMs);
        this.#hasOpened = true;
        for (const entry of this.#entries(request, granted, nowMs)) {
          runner.hook(hooks.open, entry);
        }
      } else if (action === "close") {
        try {
          await this.#close(before, nowMs);
          if (inKernel) await this.#prolong(granted, nowMs);
        } catch (error) {
          this.#putBack(before);
          throw error;
        }
        await this.#kill(before);
        for (const entry of before) runner.hook(hooks.close, entry);
      }
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error;
      counters.add("failed: firewall");
      const { message } = error;
      this.#chronicle.say("error", "failed", request, granted, message);
      this.#forget(request, granted, nowMs, message);
      if (action === "open") this.#putBack(before);
      return false;
    }
    counters.add(action);
    const words = action === "open" ? formatUntil(nowMs, granted.seconds) : "";
    const level = action === "ping" ? "debug" : "info";
    this.#chronicle.say(level, action, request, granted, words);
    return true;
  }

  async #open(
    { client }: Deed,
    { address, ports, to }: Granted,
    nowMs: number,
  ): Promise<void> {
    if (to && !forwards(this.#config)) {
      const { backend } = this.#config.firewall;
      throw new FirewallError(`the ${backend} backend cannot forward a port`);
    }
    const { ledger } = this.#parts.store;
    const entries = ledger.ofAddress(address, nowMs);
    // Only the kernel knows whether another's single use is still to come.
    const wanted = entries.filter((entry) =>
      isWithin(entry, ports) && (!entry.once || entry.client === client)
    );
    if (wanted.length === 0) {
      throw new FirewallError("it was taken back before it was opened");
    }
    await this.#firewall.open(
      mergeEntries(wanted),
      mergeEntries(entries),
      nowMs,
    );
  }

  /** Puts right what the kernel ends for all at an address, though others have it for longer. */
  async #prolong(
    { address, ports, seconds }: Granted,
    nowMs: number,
  ): Promise<void> {
    const entries = this.#parts.store.ledger.ofAddress(address, nowMs);
    const untilMs = nowMs + seconds * 1000;
    // Only the kernel knows whether a single use is still to come.
    const longer = entries.filter((entry) =>
      !entry.once && entry.untilMs > untilMs && isWithin(entry, ports)
    );
    if (longer.length === 0) return;
    const all = mergeEntries(entries);
    await this.#firewall.open(mergeEntries(longer), all, nowMs);
  }

  /** Ends entries; what another client has at the same address stays. */
  async #close(ended: readonly Entry[], nowMs: number): Promise<void> {
    const { ledger } = this.#parts.store;
    for (const address of new Set(ended.map((entry) => entry.address))) {
      const gone = mergeEntries(ended.filter((one) => one.address === address));
      const used = new Set(
        gone.filter(({ once }) => once)
          .map(({ ports }) => formatPortRange(ports)),
      );
      // Whether it was used is not known: another's single use of the same
      // ports ends with this one, and none is given back.
      const stays = mergeEntries(ledger.ofAddress(address, nowMs))
        .filter(({ once, ports }) =>
          !once || !used.has(formatPortRange(ports))
        );
      await this.#firewall.close(gone, stays, nowMs);
      // A neighbour's grant for the same ports may end earlier than ours did.
      const lasting = stays.filter(({ once }) => !once);
      if (lasting.length > 0) await this.#firewall.open(lasting, stays, nowMs);
    }
  }

  /** Ends the connections of those services that say so. */
  async #kill(ended: readonly Entry[]): Promise<void> {
    const killed = this.#config.services.filter(({ kill }) => kill);
    const concerned = ended.filter((entry) =>
      killed.some(({ ports }) =>
        ports.some((range) => overlapPorts(range, entry.ports))
      )
    );
    if (concerned.length > 0) {
      await endConnections(this.#parts.runtime, concerned);
    }
  }

  async #runCommand(request: Request, granted: Granted): Promise<boolean> {
    const { runner, counters } = this.#parts;
    const name = granted.command!;
    const argv = this.#config.commands.get(name)!;
    counters.add("run");
    this.#chronicle.say("info", "run", request, granted);
    return await runner.run(name, argv, {
      client: request.client,
      address: granted.address,
    });
  }

  #forget(
    request: Deed,
    granted: Granted,
    nowMs: number,
    reason: string,
  ): void {
    try {
      this.#chronicle.remember("failed", request, granted, reason);
      if (request.action !== "open") return;
      for (const entry of this.#entries(request, granted, nowMs)) {
        this.#parts.store.ledger.remove(entry);
      }
    } catch (error) {
      this.#chronicle.sayTrouble(error);
    }
  }

  /** Has the ledger say again what is still open. */
  #putBack(entries: readonly Entry[]): void {
    try {
      for (const entry of entries) this.#parts.store.ledger.put(entry);
    } catch (error) {
      this.#chronicle.sayTrouble(error);
    }
  }

  #end(entries: readonly Entry[], reason: string): void {
    const { store } = this.#parts;
    store.transaction(() => {
      for (const entry of entries) {
        store.ledger.remove(entry);
        this.#chronicle.rememberEnd(entry, reason);
      }
    });
  }

  #entries(
    { client }: Deed,
    { address, ports, seconds, to }: Granted,
    nowMs: number,
  ): Entry[] {
    const untilMs = nowMs + seconds * 1000;
    const once = this.#once.has(client);
    return ports.map((ports) => ({
      client,
      address,
      ports,
      sinceMs: nowMs,
      untilMs,
      once,
      to,
    }));
  }

  #answer(
    status: Answer["status"],
    asked: string,
    granted: Granted | undefined,
  ): Answer {
    const done = status === "done" ? granted : undefined;
    return {
      status,
      count: countPorts(done?.ports ?? []),
      seconds: done?.seconds ?? 0,
      timeMs: this.#parts.runtime.nowMs(),
      address: granted?.address ?? asked,
    };
  }
}

/** The names under which a configuration grants. */
function grantees({ clients, doors }: Config): Set<string> {
  return new Set([
    ...clients.map(({ name }) => name),
    ...doors.map(({ name }) => grantee(name)),
  ]);
}

/** Whether grants may lead elsewhere than their ports do. */
function forwards({ firewall }: Config): boolean {
  return firewall.backend === "nft";
}

/** How many ports these are, as far as a reply can say (16 bits). */
function countPorts(ports: readonly PortRange[]): number {
  let count = 0;
  for (const { first, last } of ports) count += last - first + 1;
  return Math.min(count, 0xffff);
}
