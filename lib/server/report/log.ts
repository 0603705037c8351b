/** The server's log: one line an event, on standard error; and what fails for a while, as on a full disk. */

import type { LogConfig } from "../../config/config.ts";
import type { PolicyRefusal } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { isIpv4, isLinkLocal } from "../../values/address.ts";
import {
  failing,
  FailureError,
  OperatorError,
  SystemError,
} from "../../values/errors.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { escapeUnsafe, formatJson } from "../../values/text.ts";
import { type Rate, RateCap } from "../packet/limits.ts";
import type { EventName } from "../state/history.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";

export type Level = LogConfig["level"];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Writes a line: words for people, and fields for machines. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/**
 * A log in the configuration's format, from its level on. It keeps nothing
 * waiting: what finds its reader stopped, and no more room, is counted as lost.
 */
export function createLog(runtime: Runtime, { format, level }: LogConfig): Log {
  const least = LEVELS.indexOf(level);
  let lost = 0;
  const formatLine = (...[level, words, fields]: Parameters<Log>) => {
    // A client chooses the name of the command that it wants run.
    const message = escapeUnsafe(words);
    const time = new Date(runtime.nowMs()).toISOString();
    return format === "json"
      ? formatJson({ time, level, message, ...fields }) + "\n"
      : `${time} ${level} ${message}\n`;
  };
  return (level, message, fields) => {
    if (LEVELS.indexOf(level) < least) return;
    const line = formatLine(level, message, fields);
    const words = `log: ${lost} lines lost: nobody read them`;
    const before = lost > 0 ? formatLine("warn", words, { lost }) : "";
    if (runtime.log.write(before + line)) lost = 0;
    else lost++;
  };
}

// A limit for refusals: beyond it they are counted, and not logged.

/** Refusals of a client that are logged one by one: more would push all else out of the history. */
const TOLD_REFUSALS: Rate = { perSecond: 1 / 10, burst: 60 };

/** Refused by the clock, which a copy of an old packet is too; or by who may what. */
type RefusalKind = "time" | "policy";

/** Keeps refusals that come in masses out of the log and the history. */
export class LogLimit {
  readonly #log: Log;
  readonly #refusals = new RateCap(TOLD_REFUSALS);
  /** Clients whose refusals are not logged at the moment. */
  readonly #hushed = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Returns true if a refusal of a client shall be logged; the start of a silence is logged once. */
  tells(client: string, kind: RefusalKind, nowMs: number): boolean {
    const name = `${kind} ${client}`;
    if (this.#refusals.take(name, nowMs)) {
      this.#hushed.delete(name);
      return true;
    }
    if (this.#hushed.has(name)) return false;
    this.#hushed.add(name);
    const words = `refused ${client}: too often to be told each time: ` +
      "see the counts of `knock status`";
    this.#log("warn", words, { client });
    return false;
  }
}

/** Message for a state file that cannot be written; any other error is a bug and rethrown. */
export function stateTrouble(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return `cannot write the state file: ${error.message}`;
}

/** Does work that may fail for a while, as on a full disk: a failure is logged, and the next turn tries again. */
export async function attempt(
  log: Log,
  work: () => void | Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isForPeople = error instanceof OperatorError;
    log("error", isForPeople ? error.message : stateTrouble(error));
  }
}

/** Does work that the operator waits for; its failures are OperatorErrors. */
export async function orFailure<T>(work: () => T | Promise<T>): Promise<T> {
  return await failing((error) => new FailureError(stateTrouble(error)), work);
}

// Events, recorded in the history and written to the log.

/** Subject of an event: who asked, by a request or a sequence, and for what. */
export interface Subject {
  readonly client: string;
  readonly dialect: string;
  /** Command to run, as it was asked for; null for all but `run`. */
  readonly command: string | null;
  /** Canonical. */
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** 0 for all but `open`. */
  readonly seconds: number;
}

/** Outer parts of a server. */
export interface Outside {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
}

/** Writes events of requests and grants. */
export class EventLog {
  readonly #world: Outside;

  constructor(world: Outside) {
    this.#world = world;
  }

  /** Adds an event of a request to the history; throws SystemError. */
  remember(
    event: EventName,
    { client, dialect, command, address, ports, seconds }: Subject,
    reason = "",
  ): void {
    const { runtime, store } = this.#world;
    store.history.add({
      atMs: runtime.nowMs(),
      event,
      client,
      address,
      ports: command ?? formatPorts(ports),
      seconds,
      dialect,
      reason,
    });
  }

  /** Adds the end of a grant to the history; throws SystemError. */
  rememberEnd(entry: LedgerEntry, event: EventName, reason: string): void {
    const ports = [entry.ports];
    const nobody = { dialect: "", command: null, seconds: 0 };
    this.remember(event, { ...entry, ...nobody, ports }, reason);
  }

  /** Writes a line about a request. */
  say(
    level: Level,
    event: EventName,
    { client, dialect, command, address, ports }: Subject,
    words = "",
  ): void {
    const list = command ?? formatPorts(ports);
    const subject = [event, client, address, list].filter(Boolean).join(" ");
    const colon = event === "refused" || event === "failed" ? ":" : "";
    this.#world.log(
      level,
      words ? `${subject}${colon} ${words}` : subject,
      { event, client, address, ports: list, dialect },
    );
  }
}

// Words of the log about grants and refusals.

const REASONS: Readonly<Record<PolicyRefusal, string>> = {
  "expired": "this client has expired",
  "hours": "outside this client's hours",
  "address required": "this client must name its address",
  "address":
    "the address named is not the packet's source, or not that of another host",
  "source": "the address is not one of this client's",
  "ports": "a port that this client may not open",
  "protocol": "a protocol without ports, such as ICMP: only TCP and UDP open",
  "target": "the service's address named is not one of this machine's",
  "nothing to open": "this client may open nothing",
  "forward": "this client may not have a port passed on",
  "command": "a command that this client may not run",
  "code": "the one-time code is missing or wrong",
  "code used": "the one-time code was used before",
  "code tries": "too many wrong one-time codes: wait, up to an hour",
};

/** Why a request was refused, in words. */
export function explainRefusal(why: PolicyRefusal, address?: string): string {
  return why === "address" && address && !isIpv4(address) &&
      isLinkLocal(address)
    ? `${address} is another host on every network: use an address that is not link-local`
    : REASONS[why];
}

/** Error of a time stamp, in words. */
export function explainSkew(aheadMs: number): string {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const side = aheadMs < 0 ? "behind" : "ahead of";
  return `its time stamp is ${seconds} s ${side} this machine's clock`;
}

/** Ports as "tcp/22,udp/8000-8010". */
export function formatPorts(ports: readonly PortRange[]): string {
  return ports.map(formatPortRange).join(",");
}
