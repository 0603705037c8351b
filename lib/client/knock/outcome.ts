/** Outcome of a knock, and the words for people about it. Pure. */

import type {
  Action,
  Answer,
  NewRequest,
  PolicyRefusal,
} from "../../dialects/dialect.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../values/address.ts";
import { FailureError } from "../../values/errors.ts";
import {
  countPorts,
  formatPortRange,
  type PortRange,
} from "../../values/ports.ts";
import { counted, toIdentifier } from "../../values/text.ts";
import { formatDuration, formatLocal } from "../../values/time.ts";
import type { Profile } from "../profile/profile.ts";

/** Outcome of a knock. */
export type Outcome = Answered | Sent | Silent;

/** Authenticated answer of the server, a refusal too. */
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

/** Part of a request that its outcome is described by. */
export type AskedFor = Pick<
  NewRequest,
  "action" | "ports" | "command" | "seconds"
>;

const SECOND_MS = 1000;

/**
 * Answer of a server that did what was asked; null if none was wanted. Throws
 * FailureError, with the server's reason or the likely causes and with
 * {@linkcode outcomeFacts}, if the server refused, failed or was silent.
 */
export function expectDone(
  profile: Profile,
  asked: AskedFor,
  outcome: Outcome,
  nowMs: number,
): Answer | null {
  if (outcome.kind === "sent") return null;
  if (outcome.kind === "answered" && outcome.answer.status === "done") {
    return outcome.answer;
  }
  const error = outcome.kind === "silent"
    ? silence(profile, outcome, nowMs)
    : outcome.answer.status === "refused"
    ? refusal(asked, outcome)
    : asked.action === "run"
    ? new FailureError(
      "the server's command failed",
      "look at the server's log, which says how it ended",
    )
    : new FailureError(
      "the server's firewall failed",
      "run `knock log` and `knock doctor` on the server: its own rules may " +
        "drop what was to be opened",
    );
  error.facts = outcomeFacts(profile, asked, outcome, nowMs);
  throw error;
}

function refusal(asked: AskedFor, { answer, code }: Answered): FailureError {
  if (code === "again") {
    return new FailureError(
      "no answer came to the first packet, and the server refused the next " +
        "one with the same one-time code: most likely the first was done, " +
        "and its answer got lost",
      `check whether it is ${
        DONE[asked.action]
      }; another knock needs the next code`,
    );
  }
  const [words, hint] = explainReason(asked, answer);
  return new FailureError(
    `refused: ${words}`,
    code === "none" || answer.reason ? hint : `${hint}; ${EACH_CODE_ONCE}`,
  );
}

const DONE: Readonly<Record<Action, string>> = {
  open: "open now",
  close: "closed now",
  run: "running",
  ping: "answering",
};

/** Reason of a refusal in words, and what to do about it. */
function explainReason(
  { action, ports, command }: AskedFor,
  { reason, address }: Answer,
): readonly [words: string, hint: string] {
  const list = ports.map(formatPortRange).join(", ");
  const set = (key: string) =>
    `the server's operator sets it: \`${key}\` of this client`;
  const which = ports.length > 1
    ? `not all of ${list} are allowed`
    : `${list} is not allowed`;
  const known: Partial<Record<PolicyRefusal, readonly [string, string]>> = {
    expired: ["this client has expired", set("expires")],
    hours: ["outside its hours", set("hours")],
    "address required": [
      "this client must name its address",
      "use --from ADDRESS, or --from resolve",
    ],
    address: [
      `${address} is not the address that the packet came from`,
      "use --from source, or have the operator set `any_address: true`",
    ],
    source: [`${address} is not an address of this client`, set("from")],
    ports: [list ? which : "these ports are not allowed", set("open")],
    "nothing to open": ["this client may not open anything", set("open")],
    command: [`command "${command ?? ""}" is not allowed`, set("run")],
    code: [
      "the one-time code is missing or wrong",
      "use the code that the authenticator app shows now: --code 123456",
    ],
    "code used": ["the one-time code was used before", EACH_CODE_ONCE],
    "code tries": [
      "too many wrong one-time codes",
      "wait: a minute first, up to an hour after more of them",
    ],
    forward: ["this client may not forward a port", "leave --nat out"],
  };
  const verb = action === "ping"
    ? "knock now"
    : `${action} ${command ?? (list || "these ports")}`;
  return reason && known[reason] || [
    `this client is not allowed to ${verb}`,
    "run `knock log` on the server: it shows the reason",
  ];
}

/** Why a code that was right a moment ago is refused. */
const EACH_CODE_ONCE = "a one-time code is good for one knock: after another " +
  "in the same 30 s, wait for the next";

/** `open tcp/22 for 203.0.113.9 until 14:05:10`, in this machine's time. */
export function tellOpened(
  asked: AskedFor,
  answer: Answer,
  nowMs: number,
): string {
  const { seconds, address } = answer;
  const until = seconds === 0
    ? ""
    : ` until ${formatLocal(nowMs + seconds * SECOND_MS, nowMs)}`;
  const capped = isCapped(asked, answer)
    ? ` (${formatDuration(seconds)}: the server grants no more)`
    : "";
  const ports = tellPorts(asked.ports, answer);
  return `open ${ports} for ${address}${until}${capped}`;
}

/** True if the server granted less time than was asked for. */
function isCapped({ seconds }: AskedFor, answer: Answer): boolean {
  return answer.seconds > 0 && answer.seconds < seconds;
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

/** Members of the JSON object about a knock: docs/json.md, "A knock". */
export function outcomeFacts(
  profile: Profile,
  asked: AskedFor,
  outcome: Outcome,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  const { action, ports, command } = asked;
  const facts = {
    profile: profile.name,
    server: formatEndpoint(profile.server),
    action,
    ports: ports.map(formatPortRange),
    ...command !== null && { command },
  };
  if (outcome.kind === "sent") {
    return { ...facts, status: "sent", addresses: outcome.addresses };
  }
  if (outcome.kind === "silent") {
    const { addresses, tries } = outcome;
    return { ...facts, status: "no_answer", addresses, tries };
  }
  const { answer, from, roundTripMs, clockAheadMs } = outcome;
  return {
    ...facts,
    ...answerFacts(asked, answer, nowMs),
    from: formatEndpoint(from),
    round_trip_ms: Math.round(roundTripMs * 10) / 10,
    clock_ahead_ms: Math.round(clockAheadMs),
  };
}

/** Members about the server's answer. */
export function answerFacts(asked: AskedFor, answer: Answer, nowMs: number) {
  const { status, reason, count, address, seconds } = answer;
  return {
    status,
    reason: reason === undefined ? null : toIdentifier(reason),
    count,
    address,
    seconds,
    until: seconds > 0
      ? new Date(nowMs + seconds * SECOND_MS).toISOString()
      : null,
    capped: isCapped(asked, answer),
  };
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

// The server counts what it did; the names are only known when all was done.
function tellPorts(ports: readonly PortRange[], { count }: Answer): string {
  return ports.length > 0 && countPorts(ports) === count
    ? ports.map(formatPortRange).join(", ")
    : counted(count, "port");
}

function silence(
  profile: Profile,
  { addresses, tries }: Silent,
  nowMs: number,
): FailureError {
  const { host, port } = profile.server;
  const named = parseAddress(host) === null;
  const found = named ? ` (${addresses.join(", ")})` : "";
  const clock = new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z");
  const causes = [
    ...(named
      ? [`the name: check that the server is at ${addresses.join(" or ")} now`]
      : []),
    "the network: check that the server is running, and that every firewall " +
    `on the way lets UDP port ${port} through`,
    `the clock: this machine's is at ${clock}; by default a server accepts ` +
    "a difference of 2 minutes",
    `the keys: check that the server has the keys of profile "${profile.name}" enrolled`,
    "the reply: if the server does not reply by design, use --no-reply",
  ];
  const times = tries === 1 ? "1 try" : `${tries} tries`;
  return new FailureError(
    `no answer from ${formatEndpoint(profile.server)}${found} after ${times}`,
    causes.join("\n"),
  );
}
