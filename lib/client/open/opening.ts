/**
 * Opening a TCP port to go through: a knock, and waiting until it lets this
 * client in, which no reply is proof of.
 * @module
 */

import type { Runtime, Stream } from "../../runtime/runtime.ts";
import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { FailureError, orNull, SystemError } from "../../values/errors.ts";
import { familyOf } from "../address/naming.ts";
import {
  knock,
  type Knocked,
  type KnockOptions,
  type UnaddressedRequest,
} from "../knock/knock.ts";
import { expectDone, type Outcome } from "../knock/outcome.ts";
import type { Profile } from "../profile/profile.ts";

/** Longest wait for a port that may have been opened for an outdated address, milliseconds. */
const GUESS_WAIT_MS = 3000;

/** A port that lets this client in. */
export interface Attempt {
  readonly knocked: Knocked;
  /** A connection to it, with nothing sent. */
  readonly stream: Stream;
}

/** The port to connect to. */
export interface AttemptTarget {
  readonly port: number;
  /** The only address to connect to; null: where the knock was answered, then the server's others. */
  readonly address: string | null;
}

/** A knock that was done, and how. */
export interface Done {
  readonly profile: Profile;
  readonly request: UnaddressedRequest;
  readonly knocking: KnockOptions;
  readonly knocked: Knocked;
}

/**
 * Knocks and connects, as soon as that works. Throws FailureError when the
 * server said no or nothing, and when the port is not open in time.
 */
export async function knockAndConnect(
  runtime: Runtime,
  profile: Profile,
  request: UnaddressedRequest,
  knocking: KnockOptions,
  target: AttemptTarget,
): Promise<Attempt> {
  const knocked = await knock(runtime, profile, request, knocking);
  expectDone(profile, request, knocked.outcome, runtime.nowMs());
  const done = { profile, request, knocking, knocked };
  return await enter(runtime, done, target);
}

/** Waits until a port is open that was knocked for: at which address. Throws as {@linkcode knockAndConnect}. */
export async function reach(
  runtime: Runtime,
  done: Done,
  port: number,
): Promise<string> {
  const { stream } = await enter(runtime, done, { port, address: null });
  stream.close();
  return stream.peer.host;
}

async function enter(
  runtime: Runtime,
  { profile, request, knocking, knocked }: Done,
  target: AttemptTarget,
): Promise<Attempt> {
  const { port } = target;
  const addresses = await findAddresses(runtime, profile, knocked, target);
  const waitMs = knocked.guessed ? GUESS_WAIT_MS : OPEN_WAIT_MS;
  const connected = await connectWhenOpen(runtime, addresses, port, waitMs);
  if (connected.ok) return { knocked, stream: connected.stream };
  if (!knocked.guessed) {
    throw notOpen(profile, knocked.outcome, target, connected);
  }
  // Who may open for any address is not refused one of the past.
  const unguessed = { ...knocking, mayGuess: false };
  return await knockAndConnect(runtime, profile, request, unguessed, target);
}

async function findAddresses(
  runtime: Runtime,
  { server: { host } }: Profile,
  { outcome }: Knocked,
  { address }: AttemptTarget,
): Promise<readonly string[]> {
  if (address !== null) return [address];
  if (outcome.kind !== "answered") return outcome.addresses;
  const answered = outcome.from.host;
  const all = await orNull(() => runtime.resolve(host)) ?? [];
  return [answered, ...all.filter((other) => other !== answered)];
}

function notOpen(
  { server: { host } }: Profile,
  outcome: Outcome,
  { port, address }: AttemptTarget,
  { why, refused }: ConnectResult & { ok: false },
): FailureError {
  const where = formatEndpoint({ host: address ?? host, port });
  const hints = [
    refused
      ? `it is let through, but nothing listens there: is the service running?`
      : "`knock log` on the server says what became of the knock",
  ];
  if (
    outcome.kind === "answered" &&
    (address !== null || parseAddress(host) === null)
  ) {
    const knocked = familyOf(outcome.from.host);
    const other = address === null
      ? knocked === "IPv4" ? "IPv6" : "IPv4"
      : familyOf(address);
    if (other !== knocked) {
      hints.push(
        `the knock was answered over ${knocked} and opened for ` +
          `${outcome.answer.address}; what connects over ${other} comes from ` +
          "another address: --both opens for both",
      );
    }
  }
  const seconds = OPEN_WAIT_MS / 1000;
  const whom = outcome.kind === "answered"
    ? ` for ${outcome.answer.address}`
    : "";
  return new FailureError(
    `${where} is not open${whom} after ${seconds} s: ${why}`,
    hints.join("\n"),
  );
}

/** Longest wait for a port to accept, milliseconds. */
const OPEN_WAIT_MS = 10_000;

/**
 * Timeout of the first attempts; each further one waits twice as long, so
 * that a firewall which opens late is found soon, and a far server at all.
 */
const FIRST_ATTEMPT_MS = 300;

/** The pause after attempts that were refused at once. */
const PAUSE_MS = 100;

/** Delay between attempts to addresses of a server, milliseconds (RFC 8305 §5). */
const STAGGER_MS = 250;

/** Result of waiting: a connection, or the system's error of the last attempt. */
export type ConnectResult =
  | { readonly ok: true; readonly stream: Stream }
  | { readonly ok: false; readonly why: string; readonly refused: boolean };

/** Connects again and again until the port accepts, or the time is over. Never throws. */
async function connectWhenOpen(
  runtime: Runtime,
  addresses: readonly string[],
  port: number,
  withinMs: number,
): Promise<ConnectResult> {
  const endMs = runtime.monotonicMs() + withinMs;
  for (let attemptMs = FIRST_ATTEMPT_MS;; attemptMs *= 2) {
    const leftMs = endMs - runtime.monotonicMs();
    const timeoutMs = Math.max(Math.min(attemptMs, leftMs), 1);
    const connected = await connectOnce(runtime, addresses, port, timeoutMs);
    const isOver = runtime.monotonicMs() + PAUSE_MS >= endMs;
    if (connected.ok || isOver) return connected;
    await runtime.sleep(PAUSE_MS);
  }
}

/** Connects once to each address, one after the other but not waiting for it; the first that accepts counts. */
export async function connectOnce(
  runtime: Runtime,
  addresses: readonly string[],
  port: number,
  timeoutMs: number,
): Promise<ConnectResult> {
  const found = new AbortController();
  const attempts = addresses.map(async (host, index) => {
    if (index > 0) await runtime.sleep(index * STAGGER_MS, found.signal);
    if (found.signal.aborted) throw new SystemError("", "not needed");
    const stream = await runtime.connectStream({ host, port }, { timeoutMs });
    if (found.signal.aborted) {
      stream.close();
      throw new SystemError("", "not needed");
    }
    found.abort();
    return stream;
  });
  try {
    return { ok: true, stream: await Promise.any(attempts) };
  } catch (error) {
    const errors = error instanceof AggregateError ? error.errors : [error];
    const unexpected = errors.find((one) => !(one instanceof SystemError));
    if (unexpected !== undefined) throw unexpected;
    const refused = errors.find(({ code }) => code === "ECONNREFUSED");
    return {
      ok: false,
      why: (refused ?? errors[0])?.message ?? "the server has no address",
      refused: refused !== undefined,
    };
  }
}
