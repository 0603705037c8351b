/**
 * What is decided on a request: judged and recorded in one synchronous step,
 * before the next one is looked at. Protocol, "The order of judging", steps 6
 * to 8.
 * @module
 */

import type { Client } from "../../config/config.ts";
import { STEP_MS } from "../../dialects/codes.ts";
import type { Request } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Claim, Granted } from "../grants/deed.ts";
import type { ActiveConfig } from "../grants/active.ts";
import { MAX_WAITING, type Queue } from "../grants/queue.ts";
import type { Records } from "../grants/records.ts";
import {
  type Asker,
  type Concerned,
  type EventLog,
  explainRefusal,
  explainSkew,
} from "../report/events.ts";
import { type Log, LogLimit } from "../report/log.ts";
import type { Counters } from "../report/metrics.ts";
import { stateTrouble } from "../report/trouble.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import { codeIdentity } from "../state/replay.ts";
import type { Store } from "../state/store.ts";
import { takenAddresses } from "./forwarding.ts";
import {
  isClientAddress,
  isTimely,
  judge,
  type PolicyRefusal,
  type Verdict,
} from "./judge.ts";

/** Time for which the system's list of interfaces is reused, milliseconds. */
const TAKEN_MS = 1000;

/** What decisions are made with. */
export interface DecisionsParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
  readonly chronicle: EventLog;
  readonly inForce: ActiveConfig;
  readonly queue: Queue;
  readonly records: Records;
}

/** Accepted request, already recorded. */
export interface Passed {
  readonly ok: true;
  readonly granted: Granted;
  /** The ledger's entries for these ports as they were before. */
  readonly before: readonly LedgerEntry[];
}

/** That nothing is to be done; that was told already. */
export interface Denied {
  readonly ok: false;
  readonly status: "refused" | "failed";
  /** The address that was asked for; canonical. */
  readonly address: string;
}

/** Request that the judge refused. */
interface Refused {
  readonly ok: false;
  readonly why: PolicyRefusal;
  /** True if the refusal goes into the history and the log. */
  readonly told: boolean;
}

/** Decides on requests and claims. Nothing in here waits. */
export class Decisions {
  readonly #parts: DecisionsParts;
  readonly #codes: CodeGuard;
  readonly #hush: LogLimit;
  #taken: ReadonlySet<string> = new Set();
  #takenMs = -Infinity;

  constructor(parts: DecisionsParts) {
    this.#parts = parts;
    this.#codes = new CodeGuard(parts.store);
    this.#hush = new LogLimit(parts.log);
  }

  /**
   * Decides on an authentic request. Null is silence: a stamp out of time, a
   * replay.
   */
  decide(
    request: Request,
    source: string,
    nowMs: number,
  ): Passed | Denied | null {
    const { store, counters, chronicle, inForce, queue } = this.#parts;
    const client = inForce.client(request.client);
    if (!client) return this.#silence("unknown client");
    const address = request.address ?? source;
    const asked = { address, ports: request.ports, seconds: 0 };
    const { maxSkewMs } = inForce.config;

    // Step 6.
    if (
      !isTimely(request, nowMs, maxSkewMs) ||
      store.replay.isForgotten(request.timestampMs)
    ) {
      // A copy of an old packet comes here, too, from anybody.
      if (this.#hush.tells(client.name, "time", nowMs)) {
        const words = explainSkew(request.timestampMs - nowMs);
        chronicle.say("warn", "refused", request, asked, words);
      }
      return this.#silence("time");
    }

    // Step 7: in memory first, so that a copy is a replay whatever fails below.
    const untilMs = request.timestampMs + maxSkewMs;
    if (!store.replay.note(request.identity, untilMs)) {
      return this.#silence("replay");
    }
    if (queue.isFull(client.name)) {
      counters.add("failed: busy");
      if (this.#hush.tells(client.name, "policy", nowMs)) {
        const words = `${MAX_WAITING} of its requests wait already`;
        chronicle.say("error", "failed", request, asked, words);
      }
      return { ok: false, status: "failed", address };
    }

    // Step 7 in the file, and step 8: all of it is recorded, or nothing.
    try {
      const decided = store.transaction(() => {
        if (!store.replay.record(request.identity, untilMs)) return null;
        return this.#judgeAndRecord(request, client, source, asked, nowMs);
      });
      if (!decided) return this.#silence("replay");
      if (decided.ok) return decided;
      counters.add(`refused: ${decided.why}`);
      if (decided.told) {
        const words = explainRefusal(decided.why, address);
        chronicle.say("warn", "refused", request, asked, words);
      }
      return { ok: false, status: "refused", address };
    } catch (error) {
      return this.#fail(request, asked, error);
    }
  }

  /** Records what a complete port sequence does. */
  admit(claim: Claim, nowMs: number): Passed | Denied {
    const { store, records } = this.#parts;
    const { command, address, ports, seconds } = claim;
    const machine = { taken: this.#takenAddresses() };
    if (!isClientAddress(address, address, machine)) {
      return this.#refuseClaim(claim, nowMs);
    }
    const granted: Granted = {
      ok: true,
      address,
      ports,
      to: null,
      command,
      seconds,
      codeStep: null,
    };
    try {
      const before = store.transaction(() => {
        claim.record?.();
        return records.record(claim, granted, nowMs);
      });
      return { ok: true, granted, before };
    } catch (error) {
      return this.#fail(claim, granted, error);
    }
  }

  /** Refuses what a sequence would do for an address that no client has. */
  #refuseClaim(claim: Claim, nowMs: number): Denied {
    const { counters, chronicle } = this.#parts;
    const { client, address } = claim;
    counters.add("refused: address");
    if (this.#hush.tells(client, "policy", nowMs)) {
      const words = explainRefusal("address", address);
      chronicle.say("warn", "refused", claim, claim, words);
    }
    return { ok: false, status: "refused", address };
  }

  /** Step 8, and the record of what it says: within the transaction of step 7. */
  #judgeAndRecord(
    request: Request,
    client: Client,
    source: string,
    asked: Concerned,
    nowMs: number,
  ): Passed | Refused {
    const verdict = this.#judge(request, client, source, nowMs);
    if (verdict.ok) {
      const { records } = this.#parts;
      const before = records.record(request, verdict, nowMs);
      return { ok: true, granted: verdict, before };
    }
    const { why } = verdict;
    const told = this.#hush.tells(client.name, "policy", nowMs);
    if (told) {
      const { chronicle } = this.#parts;
      const words = explainRefusal(why, asked.address);
      chronicle.remember("refused", request, asked, words);
    }
    return { ok: false, why, told };
  }

  /** Step 8, with all that a one-time code needs besides. */
  #judge(
    request: Request,
    client: Client,
    source: string,
    nowMs: number,
  ): Verdict {
    const { runtime, inForce: { config } } = this.#parts;
    const { name } = client;
    const isTry = client.code !== null && request.code !== null;
    if (isTry && !this.#codes.mayTry(name, nowMs)) {
      return { ok: false, why: "code tries" };
    }
    const named = request.forward || request.target !== undefined;
    const ownAddresses = named ? runtime.ownAddresses() : [];
    const machine = { ...config, ownAddresses, taken: this.#takenAddresses() };
    const verdict = judge(request, client, source, nowMs, machine);
    if (isTry && !verdict.ok && verdict.why === "code") {
      this.#codes.noteWrong(name, nowMs);
    }
    if (!verdict.ok || verdict.codeStep === null) return verdict;
    return this.#codes.use(name, verdict.codeStep, config.maxSkewMs, nowMs)
      ? verdict
      : { ok: false, why: "code used" };
  }

  /** Addresses that no client has, looked up once a second at most. */
  #takenAddresses(): ReadonlySet<string> {
    const { runtime } = this.#parts;
    const nowMs = runtime.monotonicMs();
    if (nowMs - this.#takenMs >= TAKEN_MS) {
      this.#takenMs = nowMs;
      this.#taken = takenAddresses(runtime.ownNetworks());
    }
    return this.#taken;
  }

  #silence(why: string): null {
    this.#parts.counters.add(`refused: ${why}`);
    return null;
  }

  /** Fails a request that cannot be recorded, so that it is not carried out. */
  #fail(asker: Asker, concerned: Concerned, error: unknown): Denied {
    const { counters, chronicle } = this.#parts;
    const words = stateTrouble(error);
    counters.add("failed: state");
    chronicle.say("error", "failed", asker, concerned, words);
    return { ok: false, status: "failed", address: concerned.address };
  }
}

// One-time codes: how many wrong ones a client may try, and each right one once.

/** Wrong codes in a row without a delay. */
const FREE = 5;
/** The delay after them, which doubles with each further one (RFC 4226 §7.3). */
const FIRST_DELAY_MS = 60_000;
const MAX_DELAY_MS = 3_600_000;

/** A client's wrong codes since its last right one, and when the last of them came. */
interface Wrong {
  readonly count: number;
  readonly atMs: number;
}

/** Used and wrong one-time codes of the clients, kept in the state file across restarts. */
export class CodeGuard {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns true if a client may try another code. Throws SystemError. */
  mayTry(client: string, nowMs: number): boolean {
    const { count, atMs } = this.#wrongOf(client);
    // The clock was set back: the delay begins anew.
    if (atMs > nowMs) {
      this.#store.setFact(factOf(client), { count, atMs: nowMs });
    }
    return nowMs - Math.min(atMs, nowMs) >= delayMs(count);
  }

  /** Counts a wrong one. Throws SystemError. */
  noteWrong(client: string, nowMs: number): void {
    const { count } = this.#wrongOf(client);
    const wrong: Wrong = { count: count + 1, atMs: nowMs };
    this.#store.setFact(factOf(client), wrong);
  }

  /**
   * Uses up the code of a 30 s step; false when it was used before. That is
   * recorded as long as it could come again, with a stamp from the step before
   * the code's to the one after it. Throws SystemError.
   */
  use(client: string, step: number, maxSkewMs: number, nowMs: number): boolean {
    const untilMs = nowMs + 2 * maxSkewMs + 3 * STEP_MS;
    const { replay } = this.#store;
    if (!replay.record(codeIdentity(client, step), untilMs)) return false;
    if (this.#wrongOf(client).count > 0) {
      this.#store.setFact(factOf(client), NONE);
    }
    return true;
  }

  #wrongOf(client: string): Wrong {
    return this.#store.fact(factOf(client)) as Wrong | undefined ?? NONE;
  }
}

const NONE: Wrong = { count: 0, atMs: 0 };

function factOf(client: string): string {
  return `wrong codes of ${client}`;
}

/** Delay after so many wrong codes in a row, milliseconds. */
export function delayMs(count: number): number {
  return count < FREE
    ? 0
    : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (count - FREE));
}
