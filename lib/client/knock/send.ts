/**
 * Sending a knock: a fresh packet every try, to every address of the server,
 * until an answer comes that proves itself.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { sealerOf } from "../../dialects/table.ts";
import { failing, FailureError } from "../../values/errors.ts";
import { familyOf, type IpVersion, type Naming } from "../address/naming.ts";
import type { Profile } from "../profile/profile.ts";
import { CodeSource, exchange } from "./exchange.ts";
import type { Outcome } from "./outcome.ts";
import type { Transport } from "./transport.ts";
import type { NewRequest, PolicyRefusal } from "../../dialects/dialect.ts";

export interface SendOptions {
  /** Most packets to each address. Default {@linkcode DEFAULT_TRIES}. */
  readonly tries?: number;
  /** False: one packet to each address, and no waiting. Default true. */
  readonly reply?: boolean;
  /** Only addresses of this family. Default both. */
  readonly family?: IpVersion | undefined;
  /** Transport of packets. Default: the profile's. */
  readonly transport?: Transport | undefined;
  /** Longest wait for an answer to the last packet, milliseconds. Default: as for the others. */
  readonly patienceMs?: number;
  /** Address that packets name if the request names none, by family. */
  readonly naming?: Naming;
  /**
   * Address that the first packet names, until the server refuses or is silent:
   * it may be another one by now. Only with a reply.
   */
  readonly guess?: Naming;
}

export const DEFAULT_TRIES = 3;

/**
 * Knocks at a profile's server and returns the outcome. An answer counts
 * from wherever it comes and however late, if it opens with the keys of any
 * packet sent. Throws FailureError when the server's name has no address, or
 * none that this machine can send to; one that it cannot is no matter while
 * another works. With one-time codes the families take turns, the resolver's
 * first one first: the next is tried when no answer came.
 */
export async function sendKnock(
  runtime: Runtime,
  profile: Profile,
  request: NewRequest,
  options: SendOptions = {},
): Promise<Outcome> {
  const { tries = DEFAULT_TRIES, family, naming = {}, guess = {} } = options;
  const sealer = await sealerOf(profile);
  const transport = options.transport ?? profile.transport;
  // Servers answer nothing to a connection.
  const answers = sealer.answers && transport.kind === "udp";
  const reply = answers && options.reply !== false;
  const addresses = await findAddresses(runtime, profile, family);
  const codes = new CodeSource(profile, request.code);
  const { patienceMs } = options;
  const how = { sealer, transport, reply, codes, naming, tries, patienceMs };
  const knock = { profile, request, addresses, ...how };
  const guessed = reply && tries > 1 && request.address === null &&
    addresses.some((address) => guess[familyOf(address)] !== undefined);
  if (!guessed) return await exchange(runtime, knock);
  const first = { ...knock, naming: guess, tries: 1 };
  const outcome = await exchange(runtime, first);
  if (outcome.kind === "answered") {
    const { status, reason } = outcome.answer;
    // What has nothing to do with the address is refused again.
    if (status !== "refused" || reason && !ADDRESS_REASONS.includes(reason)) {
      return outcome;
    }
    const codes = new CodeSource(profile, request.code);
    return await exchange(runtime, { ...knock, codes });
  }
  const second = await exchange(runtime, { ...knock, tries: tries - 1 });
  return second.kind === "silent" ? { ...second, tries } : second;
}

/** Reasons of a refusal that another address may not have. */
const ADDRESS_REASONS: readonly PolicyRefusal[] = ["address", "source"];

async function findAddresses(
  runtime: Runtime,
  profile: Profile,
  family: IpVersion | undefined,
): Promise<string[]> {
  const { host } = profile.server;
  const all = await failing(
    `the server's name "${host}" does not resolve`,
    () => runtime.resolve(host),
    `check that this machine is connected, and the name in profile "${profile.name}"`,
  );
  const found = [...new Set(all)];
  if (!family) return found;
  const chosen = found.filter((address) => familyOf(address) === family);
  if (chosen.length > 0) return chosen;
  throw new FailureError(
    `the server "${host}" has no ${family} address: it has ${found.join(", ")}`,
  );
}
