/** Opening a TCP port to go through: a knock, and waiting until it lets this client in. */

import {
  type Runtime,
  type Stream,
  SystemError,
} from "../../runtime/runtime.ts";
import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { FailureError } from "../../values/errors.ts";
import {
  knock,
  type Knocked,
  type KnockOptions,
  type Wish,
} from "../knock/knock.ts";
import { familyOf } from "../address/naming.ts";
import type { Outcome } from "../knock/outcome_.ts";
import type { Profile } from "../profile/profile.ts";
import { connectWhenOpen, type Entrance, OPEN_WAIT_MS } from "./wait.ts";
import { expectDone } from "../knock/outcome.ts";

/** How long a port is waited for that may have been opened for an address of the past. */
const GUESS_WAIT_MS = 3000;

/** A port that lets this client in. */
export interface Opening {
  readonly knocked: Knocked;
  /** A connection to it, with nothing sent. */
  readonly stream: Stream;
}

/** The port to connect to. */
export interface Target {
  readonly port: number;
  /** The only address to connect to; null: where the knock was answered, then the server's others. */
  readonly address: string | null;
}

/** A knock that was done, and how. */
export interface Done {
  readonly profile: Profile;
  readonly wish: Wish;
  readonly knocking: KnockOptions;
  readonly knocked: Knocked;
}

/**
 * Knocks and connects, as soon as that works. Throws FailureError when the
 * server said no or nothing, and when the port is not open in time.
 */
export async function openDoor(
  runtime: Runtime,
  profile: Profile,
  wish: Wish,
  knocking: KnockOptions,
  target: Target,
): Promise<Opening> {
  const knocked = await knock(runtime, profile, wish, knocking);
  expectDone(profile, "open", knocked.outcome, runtime.nowMs());
  const done = { profile, wish, knocking, knocked };
  return await enter(runtime, done, target);
}

/** Waits until a port is open that was knocked for: at which address. Throws as {@linkcode openDoor}. */
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
  { profile, wish, knocking, knocked }: Done,
  target: Target,
): Promise<Opening> {
  const { port } = target;
  const addresses = await findAddresses(runtime, profile, knocked, target);
  const door = { addresses, port };
  const waitMs = knocked.guessed ? GUESS_WAIT_MS : OPEN_WAIT_MS;
  const entrance = await connectWhenOpen(runtime, door, waitMs);
  if (entrance.ok) return { knocked, stream: entrance.stream };
  if (!knocked.guessed) {
    throw notOpen(profile, knocked.outcome, target, entrance);
  }
  // Who may open for any address is not refused one of the past.
  const unguessed = { ...knocking, mayGuess: false };
  return await openDoor(runtime, profile, wish, unguessed, target);
}

async function findAddresses(
  runtime: Runtime,
  { server: { host } }: Profile,
  { outcome }: Knocked,
  { address }: Target,
): Promise<readonly string[]> {
  if (address !== null) return [address];
  if (outcome.kind !== "answered") return outcome.addresses;
  const answered = outcome.from.host;
  try {
    const all = await runtime.resolve(host);
    return [answered, ...all.filter((other) => other !== answered)];
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return [answered];
  }
}

function notOpen(
  { server: { host } }: Profile,
  outcome: Outcome,
  { port, address }: Target,
  { why, refused }: Entrance & { ok: false },
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
  return new FailureError(
    `${where} is not open after ${seconds} s: ${why}`,
    hints.join("\n"),
  );
}
