/** Events, recorded in the history and written to the log. */

import type { PolicyRefusal } from "../../dialects/dialect.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { isIpv4, isLinkLocal } from "../../values/address.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { formatDuration } from "../../values/time.ts";
import type { EventName } from "../state/history.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";
import { type Level, type Log, stateTrouble } from "./log.ts";

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

/** Writes events of requests and grants. */
export class EventLog {
  readonly #runtime: Runtime;
  readonly #store: Store;
  readonly #log: Log;

  constructor(runtime: Runtime, store: Store, log: Log) {
    this.#runtime = runtime;
    this.#store = store;
    this.#log = log;
  }

  /** Adds an event of a request to the history; throws SystemError. */
  remember(
    event: EventName,
    { client, dialect, command, address, ports, seconds }: Subject,
    reason = "",
  ): void {
    this.#store.history.add({
      atMs: this.#runtime.nowMs(),
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
    this.#log(
      level,
      words ? `${subject}${colon} ${words}` : subject,
      { event, client, address, ports: list, dialect },
    );
  }

  /** Writes a line that the state cannot be written; anything else is a bug and thrown on. */
  sayTrouble(error: unknown): void {
    this.#log("error", stateTrouble(error));
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

/** "until 2026-11-21T14:05:10.000Z (30s)". */
export function formatUntil(nowMs: number, seconds: number): string {
  const until = new Date(nowMs + seconds * 1000).toISOString();
  return `until ${until} (${formatDuration(seconds)})`;
}
