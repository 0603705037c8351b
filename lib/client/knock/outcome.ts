/** Outcome of a knock, and the words for people about it. Pure. */

import type { Action, Answer } from "../../dialects/dialect.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../values/address.ts";
import { FailureError } from "../../values/errors.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { counted } from "../../values/text.ts";
import type { Profile } from "../profile/profile.ts";

/** Outcome of a knock. */
export type Outcome = Answered | Sent | Silent;

/** Authenticated answer of the server, whatever it says. */
export interface Answered {
  /** Kind of the outcome. */
  readonly kind: "answered";
  /** Answer of the server. */
  readonly answer: Answer;
  /** Address and port that the answer came from. */
  readonly from: Endpoint;
  /** Milliseconds from the packet to its answer. */
  readonly roundTripMs: number;
  /** Milliseconds that the server's clock is ahead of this machine's; negative: behind. */
  readonly clockAheadMs: number;
  /** Use of a one-time code in the packet that was answered. */
  readonly code: CodeUse;
}

/** Use of a one-time code: none, its first packet, or again after a packet without an answer. */
export type CodeUse = "none" | "first" | "again";

/** Packet sent without waiting for an answer. */
export interface Sent {
  /** Kind of the outcome. */
  readonly kind: "sent";
  /** Addresses that it was sent to, canonical. */
  readonly addresses: readonly string[];
}

/** No answer in time. */
export interface Silent {
  /** Kind of the outcome. */
  readonly kind: "silent";
  /** Addresses that packets were sent to, canonical. */
  readonly addresses: readonly string[];
  /** Packets sent to each address. */
  readonly tries: number;
}

/** Largest difference of clocks that a server accepts by default, in words. */
const DEFAULT_SKEW = "2 minutes";

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;

/**
 * Answer of a server that did what was asked; null if none was wanted. Throws
 * FailureError, with the server's word or the likely causes, if the server
 * refused, failed or was silent.
 */
export function expectDone(
  profile: Profile,
  action: Action,
  outcome: Outcome,
  nowMs: number,
): Answer | null {
  if (outcome.kind === "sent") return null;
  if (outcome.kind === "silent") throw silence(profile, outcome, nowMs);
  const { answer } = outcome;
  switch (answer.status) {
    case "done":
      return answer;
    case "refused":
      throw refusal(action, outcome.code);
    case "failed":
      throw new FailureError(
        `the server's ${FAILED[action]} failed`,
        "run `knock log` and `knock doctor` on the server: its own rules may " +
          "drop what was to be opened",
      );
  }
}

const REFUSED: Readonly<Record<Action, string>> = {
  open: "it may not open that for this client",
  close: "it may not close that for this client",
  run: "it may not run that for this client",
  ping: "this client may not knock now",
};

const FAILED: Readonly<Record<Action, string>> = {
  open: "firewall",
  close: "firewall",
  run: "command",
  ping: "firewall",
};

function refusal(action: Action, code: CodeUse): FailureError {
  if (code === "again") {
    return new FailureError(
      "no answer came to the first packet, and the server refused the next " +
        "one with the same one-time code: most likely the first was done, " +
        "and its answer got lost",
      `see whether it is ${DONE[action]}; another knock needs the next code`,
    );
  }
  const why = "`knock log` on the server says why";
  return new FailureError(
    `the server refused: ${REFUSED[action]}`,
    code === "none" ? why : `${why}; ${EACH_CODE_ONCE}`,
  );
}

const EACH_CODE_ONCE = "a one-time code is good for one knock: after another " +
  "in the same 30 s, wait for the next";

const DONE: Readonly<Record<Action, string>> = {
  open: "open now",
  close: "closed now",
  run: "running",
  ping: "answering",
};

/** `open tcp/22 for 203.0.113.9 until 14:05:10`, in this machine's time. */
export function tellOpened(
  ports: readonly PortRange[],
  answer: Answer,
  nowMs: number,
): string {
  const until = answer.seconds === 0
    ? ""
    : ` until ${formatUntil(nowMs + answer.seconds * SECOND_MS, nowMs)}`;
  return `open ${tellPorts(ports, answer)} for ${answer.address}${until}`;
}

/** `sent to home.example.org:54154`, for servers that never answer. */
export function tellSent({ server }: Profile): string {
  return `sent to ${formatEndpoint(server)}; its server does not answer`;
}

/** `closed tcp/22 for 203.0.113.9`. */
export function tellClosed(
  ports: readonly PortRange[],
  answer: Answer,
): string {
  return `closed ${tellPorts(ports, answer)} for ${answer.address}`;
}

/** Difference between the server's clock and this machine's in words; null below a second. */
export function tellClock(aheadMs: number): string | null {
  const seconds = Math.round(Math.abs(aheadMs) / SECOND_MS);
  if (Math.abs(aheadMs) <= SECOND_MS) return null;
  const way = aheadMs > 0 ? "ahead of" : "behind";
  return `the server's clock is ${seconds} s ${way} this machine's`;
}

/** Milliseconds as people read them: `0.4 ms`, `12 ms`. */
export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** The local time of day, with the date when it is not within a day. */
export function formatUntil(untilMs: number, nowMs: number): string {
  const until = new Date(untilMs);
  const time = [until.getHours(), until.getMinutes(), until.getSeconds()]
    .map(twoDigits).join(":");
  const sameDay = until.toDateString() === new Date(nowMs).toDateString();
  if (sameDay || untilMs - nowMs < DAY_MS / 2) return time;
  const date = [until.getFullYear(), until.getMonth() + 1, until.getDate()]
    .map(twoDigits).join("-");
  return `${date} ${time}`;
}

// The server counts what it did; the names are only known when all was done.
function tellPorts(ports: readonly PortRange[], { count }: Answer): string {
  if (ports.length > 0 && ports.length === count) {
    return ports.map(formatPortRange).join(", ");
  }
  return counted(count, "port");
}

function silence(
  profile: Profile,
  { addresses, tries }: Silent,
  nowMs: number,
): FailureError {
  const { host, port } = profile.server;
  const named = parseAddress(host) === null;
  const shown = named
    ? `${formatEndpoint(profile.server)} (${addresses.join(", ")})`
    : formatEndpoint(profile.server);
  const clock = new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z");
  const causes = [
    ...(named
      ? [`the name: is the server at ${addresses.join(" or ")} today?`]
      : []),
    `the way: is the server running, and UDP port ${port} open on the way to it?`,
    `the clock: this machine's says ${clock}, and may differ from the server's by ${DEFAULT_SKEW}`,
    `the keys: is profile "${profile.name}" what the server has enrolled?`,
    "the reply: a server that sends none is knocked at with --no-reply",
  ];
  const times = tries === 1 ? "1 try" : `${tries} tries`;
  return new FailureError(
    `no answer from ${shown} after ${times}`,
    causes.join("\n"),
  );
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
