/**
 * Sending a knock: a fresh packet every try, to every address of the server,
 * until an answer comes that proves itself.
 * @module
 */

import type { Request } from "../dialects/dialect.ts";
import { type SealedKnock, sealKnock } from "../dialects/knock1.ts";
import { oneTimeCode, parseCodeSecret } from "../dialects/one_time_code.ts";
import {
  type Datagrams,
  type Runtime,
  SystemError,
} from "../runtime/runtime.ts";
import { isIpv4 } from "../values/address.ts";
import { FailureError } from "../values/errors.ts";
import { Ear } from "./ear.ts";
import type { Outcome } from "./outcome.ts";
import type { Profile } from "./profile.ts";

/** What to ask the server for; a code of null is the profile's, if it has one. */
export type Ask = Pick<
  Request,
  "action" | "ports" | "command" | "seconds" | "address" | "code"
>;

export interface SendOptions {
  /** How many packets, at most, to each address. Default {@linkcode DEFAULT_TRIES}. */
  readonly tries?: number;
  /** False: one packet to each address, and no waiting. Default true. */
  readonly reply?: boolean;
  /** Only addresses of this family. Default both. */
  readonly family?: Family | undefined;
}

export type Family = "IPv4" | "IPv6";

export const DEFAULT_TRIES = 3;

/** How long the first try waits for an answer, and each further one. */
const FIRST_WAIT_MS = 1000;
const NEXT_WAIT_MS = 2000;

/**
 * Knocks at a profile's server and tells what became of it. An answer counts
 * from wherever it comes and however late, if it opens with the keys of any
 * packet sent. Throws FailureError when the server's name has no address, or
 * none that this machine can send to; one that it cannot is no matter while
 * another works.
 */
export async function sendKnock(
  runtime: Runtime,
  profile: Profile,
  ask: Ask,
  options: SendOptions = {},
): Promise<Outcome> {
  const { reply = true, tries = DEFAULT_TRIES, family } = options;
  const addresses = await findAddresses(runtime, profile, family);
  const ear = new Ear(runtime);
  const socket = await openSocket(runtime, ear);
  const { knock } = profile;
  const secret = profile.code === null ? null : parseCodeSecret(profile.code);
  const seal = () => {
    const nowMs = runtime.nowMs();
    const code = ask.code ?? (secret && oneTimeCode(secret, nowMs));
    return sealKnock(
      { ...knock, ephemeral: runtime.random(EPHEMERAL_SIZE) },
      { ...ask, code, wantsReply: reply },
      nowMs,
    );
  };
  try {
    for (let tried = 0; tried < tries; tried++) {
      await sendRound(socket, profile, addresses, packets(ask, seal), ear);
      if (!reply) return { kind: "sent", addresses };
      const waitMs = tried === 0 ? FIRST_WAIT_MS : NEXT_WAIT_MS;
      const answered = await ear.wait(waitMs);
      if (answered) return answered;
    }
    return { kind: "silent", addresses, tries };
  } finally {
    await socket.close();
  }
}

/** Bytes of an ephemeral private key. */
const EPHEMERAL_SIZE = 32;

// One packet for each address, so that each may open its own family's source.
// To run a command all get the same one: the server takes it once.
function packets(ask: Ask, seal: () => SealedKnock): () => SealedKnock {
  if (ask.action !== "run") return seal;
  const only = seal();
  return () => only;
}

async function sendRound(
  socket: Datagrams,
  profile: Profile,
  addresses: readonly string[],
  next: () => SealedKnock,
  ear: Ear,
): Promise<void> {
  const { host, port } = profile.server;
  const failures: string[] = [];
  for (const address of addresses) {
    const sealed = next();
    const forget = ear.expect(sealed);
    try {
      await socket.send(sealed.packet, { host: address, port });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      forget();
      failures.push(`${address}: ${error.message}`);
    }
  }
  if (failures.length < addresses.length || ear.expects) return;
  throw new FailureError(
    `cannot send to ${host}: ${failures.join("; ")}`,
    "is this machine connected, and does its own firewall let UDP out?",
  );
}

async function findAddresses(
  runtime: Runtime,
  profile: Profile,
  family: Family | undefined,
): Promise<string[]> {
  const { host } = profile.server;
  let found: string[];
  try {
    found = [...new Set(await runtime.resolve(host))];
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `the server's name "${host}" does not resolve: ${error.message}`,
      `is this machine connected, and is the name right in profile "${profile.name}"?`,
    );
  }
  if (!family) return found;
  const chosen = found.filter((address) =>
    isIpv4(address) === (family === "IPv4")
  );
  if (chosen.length > 0) return chosen;
  throw new FailureError(
    `the server "${host}" has no ${family} address: it has ${found.join(", ")}`,
  );
}

async function openSocket(runtime: Runtime, ear: Ear): Promise<Datagrams> {
  try {
    return await runtime.listenDatagram(
      { host: "::", port: 0 },
      (bytes, source) => ear.hear(bytes, source),
    );
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(`cannot open a UDP socket: ${error.message}`);
  }
}
