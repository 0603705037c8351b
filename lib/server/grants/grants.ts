/**
 * The keeper of the door: has decided on what comes, and then has it done, one
 * change of the firewall after the other. Protocol, "The order of judging",
 * steps 6 to 9.
 * @module
 */

import type { Config } from "../../config/config.ts";
import type { Answer, Request } from "../../dialects/dialect.ts";
import { type Firewall, FirewallError } from "../../firewall/firewall.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { Decisions, type Passed } from "../packet/decisions.ts";
import { EventLog, formatUntil } from "../report/events.ts";
import type { Log } from "../report/log.ts";
import type { Counters } from "../report/metrics.ts";
import type { Runner } from "../runner.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";
import {
  answerGranted,
  answerNothing,
  type Claim,
  type Deed,
  type Granted,
} from "./deed.ts";
import { HostWatch } from "./host.ts";
import { ActiveConfig } from "./active.ts";
import { Orders } from "./orders.ts";
import { Queue } from "./queue.ts";
import { Records } from "./records.ts";
import { Upkeep } from "./upkeep.ts";

/** What a keeper works with. */
export interface KeeperParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
  /** Runs hooks and commands. */
  readonly runner: Runner;
}

/** Keeps the ledger and the firewall in step. */
export class Grants {
  readonly #parts: KeeperParts;
  readonly #chronicle: EventLog;
  readonly #inForce: ActiveConfig;
  readonly #queue = new Queue();
  readonly #records: Records;
  readonly #orders: Orders;
  readonly #decisions: Decisions;
  readonly #upkeep: Upkeep;
  readonly #host: HostWatch;
  #hasOpened = false;

  constructor(parts: KeeperParts, config: Config, firewall: Firewall) {
    const { runtime, store, log } = parts;
    const chronicle = new EventLog(runtime, store, log);
    const inForce = new ActiveConfig(config, firewall);
    const records = new Records({ store, chronicle, inForce });
    const orders = new Orders({ runtime, store, inForce });
    const shared = { ...parts, chronicle, inForce, records, orders };
    this.#parts = parts;
    this.#chronicle = chronicle;
    this.#inForce = inForce;
    this.#records = records;
    this.#orders = orders;
    this.#decisions = new Decisions({ ...shared, queue: this.#queue });
    this.#upkeep = new Upkeep(shared);
    this.#host = new HostWatch(shared);
  }

  /** The configuration that is judged by. */
  get config(): Config {
    return this.#inForce.config;
  }

  get firewall(): Firewall {
    return this.#inForce.firewall;
  }

  /** True if a knock has opened something since the start. */
  get hasOpened(): boolean {
    return this.#hasOpened;
  }

  /** Judges by this configuration from now on. */
  adopt(config: Config, firewall: Firewall): void {
    this.#inForce.adopt(config, firewall);
  }

  /** Runs a change of the firewall after those before it. */
  enqueue<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.add(work);
  }

  /** Resolves when all changes so far are done. */
  settled(): Promise<void> {
    return this.#queue.settled();
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
    const decision = this.#decisions.decide(request, source, nowMs);
    if (!decision) return null;
    const { runtime } = this.#parts;
    if (!decision.ok) {
      const { status, address } = decision;
      return Promise.resolve(answerNothing(status, address, runtime.nowMs()));
    }
    const { granted } = decision;
    const done = request.action === "run"
      // Not in the queue: a long command keeps no door shut.
      ? this.#runCommand(request, granted)
      : this.#queue.addFor(
        request.client,
        () => this.#carryOut(request, decision),
      );
    return done.then((isDone) =>
      answerGranted(isDone, granted, runtime.nowMs())
    );
  }

  /** Does what a complete port sequence does; whether it could be done. */
  async admit(claim: Claim, nowMs: number): Promise<boolean> {
    const decision = this.#decisions.admit(claim, nowMs);
    if (!decision.ok) return false;
    return await this.#queue.add(() => this.#carryOut(claim, decision));
  }

  /** Has the firewall hold exactly what a configuration and the ledger say. */
  apply(config = this.config, firewall = this.firewall): Promise<void> {
    return this.#orders.apply(config, firewall);
  }

  /** Takes ended grants out of the ledger, and closes them where the kernel does not. */
  sweep(): Promise<void> {
    return this.#upkeep.sweep();
  }

  /** Ends what a configuration no longer grants: all of clients that it does not name, and what outlives `expires` or `hours`. */
  async dropGrants(config: Config): Promise<void> {
    await this.#upkeep.dropClients(config);
    await this.#upkeep.shortenGrants(config);
  }

  /** Puts the firewall back if somebody changed what is ours, and says what only the admin can mend. */
  care(): Promise<void> {
    return this.#upkeep.care(this.#host.isRead);
  }

  /** Reads the host's own rules; beside the queue, so that no knock waits for it. */
  lookAtHost(): Promise<void> {
    return this.#host.look();
  }

  /** Step 9; whether it was done. What could not be opened is taken out of the ledger again. */
  async #carryOut(deed: Deed, { granted, before }: Passed): Promise<boolean> {
    const { runtime, counters } = this.#parts;
    const nowMs = runtime.nowMs();
    const { action } = deed;
    try {
      if (action === "open") await this.#open(deed, granted, nowMs);
      else if (action === "close") {
        await this.#close(deed, granted, before, nowMs);
      }
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error;
      counters.add("failed: firewall");
      const { message } = error;
      this.#chronicle.say("error", "failed", deed, granted, message);
      this.#records.takeBack(deed, granted, nowMs, message);
      if (action === "open") this.#records.putBack(before);
      return false;
    }
    counters.add(action);
    const words = action === "open" ? formatUntil(nowMs, granted.seconds) : "";
    const level = action === "ping" ? "debug" : "info";
    this.#chronicle.say(level, action, deed, granted, words);
    return true;
  }

  async #open(deed: Deed, granted: Granted, nowMs: number): Promise<void> {
    await this.#host.check(granted);
    if (deed.inKernel) await this.#orders.prolong(granted, nowMs);
    else await this.#orders.open(deed, granted, nowMs);
    this.#hasOpened = true;
    const { hooks } = this.config;
    for (const entry of this.#records.entriesOf(deed, granted, nowMs)) {
      this.#parts.runner.hook(hooks.open, entry);
    }
  }

  async #close(
    { inKernel }: Deed,
    granted: Granted,
    before: readonly LedgerEntry[],
    nowMs: number,
  ): Promise<void> {
    try {
      await this.#orders.close(before, nowMs);
      if (inKernel) await this.#orders.prolong(granted, nowMs);
    } catch (error) {
      this.#records.putBack(before);
      throw error;
    }
    await this.#orders.kill(before);
    const { hooks } = this.config;
    for (const entry of before) this.#parts.runner.hook(hooks.close, entry);
  }

  async #runCommand(request: Request, granted: Granted): Promise<boolean> {
    const { runner, counters } = this.#parts;
    const { client } = request;
    const { address } = granted;
    const name = granted.command!;
    const argv = this.config.commands.get(name)!;
    counters.add("run");
    this.#chronicle.say("info", "run", request, granted);
    return await runner.run(name, argv, { client, address });
  }
}
