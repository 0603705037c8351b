/**
 * A knock with all that this client knows: the address that it names, found
 * out or remembered, and both families where that is wanted.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { FailureError, UsageError } from "../../values/errors.ts";
import {
  familyOf,
  type IpVersion,
  type Naming,
  rememberedNaming,
  rememberNaming,
} from "../address/naming.ts";
import type { From, Profile } from "../profile/profile.ts";
import type { Answered, Outcome } from "./outcome.ts";
import { sendKnock, type SendOptions } from "./send.ts";
import type { NewRequest } from "../../dialects/dialect.ts";

/** Address to open for. */
export interface Recipient {
  readonly from: From;
  /** True if packets may name the address that the server saw last. */
  readonly mayGuess: boolean;
}

export interface KnockOptions extends SendOptions, Recipient {
  /** Have both families opened, and wait for both answers. */
  readonly both?: boolean;
}

/** Result of a knock. */
export interface Knocked {
  readonly outcome: Outcome;
  /** True if the server did it for a remembered address. */
  readonly guessed: boolean;
  /** The other family's answer, where both were wanted and both are done. */
  readonly also: Answered | null;
  /** Why the other family is not open, where both were wanted. */
  readonly without: string | null;
}

/** A question to the server, without the address. */
export type UnaddressedRequest = Omit<NewRequest, "address">;

/** Knocks; throws what {@linkcode sendKnock} and finding the own address do. */
export async function knock(
  runtime: Runtime,
  profile: Profile,
  unaddressed: UnaddressedRequest,
  options: KnockOptions,
): Promise<Knocked> {
  const sending = await nameAddress(runtime, profile, options);
  const address = typeof options.from === "string"
    ? null
    : options.from.address;
  const request = { ...unaddressed, address };
  if (options.both) return await knockBoth(runtime, profile, request, sending);
  const outcome = await sendKnock(runtime, profile, request, sending);
  const guessed = learn(runtime, profile, request, sending, outcome);
  return { outcome, guessed, also: null, without: null };
}

async function nameAddress(
  runtime: Runtime,
  profile: Profile,
  options: KnockOptions,
): Promise<SendOptions> {
  const { from, mayGuess, both = false } = options;
  if (from === "resolve") {
    const { findOwnAddress } = await import("../address/find.ts");
    const naming = await findOwnAddress(runtime, profile);
    const found = Object.keys(naming) as IpVersion[];
    const only = found.length === 1 && !both ? found[0] : undefined;
    // A packet over the other family would name nothing.
    return { ...options, naming, family: options.family ?? only };
  }
  // Without a reply, a wrong address would go unnoticed.
  if (from !== "source" || !mayGuess || options.reply === false) return options;
  return { ...options, guess: rememberedNaming(runtime, profile) };
}

/** Remembers the address that the server saw; true if it was a guess of ours. */
function learn(
  runtime: Runtime,
  profile: Profile,
  request: NewRequest,
  { naming, guess }: SendOptions,
  outcome: Outcome,
): boolean {
  if (outcome.kind !== "answered" || outcome.answer.status !== "done") {
    return false;
  }
  const { address } = outcome.answer;
  if (isNamed(guess, address)) return true;
  if (request.address === null && !isNamed(naming, address)) {
    rememberNaming(runtime, profile, address);
  }
  return false;
}

function isNamed(naming: Naming = {}, address: string): boolean {
  return naming[familyOf(address)] === address;
}

async function knockBoth(
  runtime: Runtime,
  profile: Profile,
  request: NewRequest,
  options: SendOptions,
): Promise<Knocked> {
  if (request.code !== null || profile.code !== null) {
    throw new UsageError(
      "--both cannot go with one-time codes: each is good for one family",
      "knock with -6, and with the next code with -4",
    );
  }
  const knocks = (["IPv6", "IPv4"] as const).map(async (family) => {
    const chosen = { ...options, family };
    const outcome = await sendKnock(runtime, profile, request, chosen);
    return { family, outcome, done: isDone(outcome) };
  });
  const ended = await Promise.allSettled(knocks);
  const failed = ended.filter((one) => one.status === "rejected")
    .map(({ reason }) => reason as Error);
  const strange = failed.find((error) => !(error instanceof FailureError));
  if (strange) throw strange;
  const [main, other] = ended.filter((one) => one.status === "fulfilled")
    .map(({ value }) => value)
    .sort((a, b) => Number(b.done) - Number(a.done));
  if (!main) throw failed[0]!;
  const { outcome } = main;
  const guessed = learn(runtime, profile, request, options, outcome);
  if (!other) {
    const without = main.done ? failed[0]!.message : null;
    return { outcome, guessed, also: null, without };
  }
  learn(runtime, profile, request, options, other.outcome);
  const answered = other.outcome.kind === "answered" ? other.outcome : null;
  const why = answered?.answer.status ?? "no answer";
  return {
    outcome,
    guessed,
    also: other.done ? answered : null,
    without: main.done && !other.done ? `${other.family}: ${why}` : null,
  };
}

function isDone(outcome: Outcome): boolean {
  return outcome.kind === "sent" ||
    outcome.kind === "answered" && outcome.answer.status === "done";
}
