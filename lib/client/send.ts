/**
 * Sending a knock: a fresh packet every try, to every address of the server,
 * until an answer comes that proves itself.
 * @module
 */

import {
  type Datagrams,
  type Runtime,
  SystemError,
} from "../runtime/runtime.ts";
import { isIpv4 } from "../values/address.ts";
import { FailureError } from "../values/errors.ts";
import { Codes } from "./codes.ts";
import { Ear } from "./ear.ts";
import type { CodeUse, Outcome } from "./outcome.ts";
import type { Profile } from "./profile.ts";
import { type Ask, type Sealed, sealerOf } from "./sealers.ts";
import { deliver, type Transport } from "./transport.ts";

export type { Ask } from "./sealers.ts";

export interface SendOptions {
  /** How many packets, at most, to each address. Default {@linkcode DEFAULT_TRIES}. */
  readonly tries?: number;
  /** False: one packet to each address, and no waiting. Default true. */
  readonly reply?: boolean;
  /** Only addresses of this family. Default both. */
  readonly family?: Family | undefined;
  /** How packets are carried. Default: the profile's way. */
  readonly transport?: Transport | undefined;
  /** How long to wait for an answer to the last packet. Default as to the others. */
  readonly patienceMs?: number;
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
 * another works. With one-time codes the families take turns, the resolver's
 * first one first: the next is tried when no answer came.
 */
export async function sendKnock(
  runtime: Runtime,
  profile: Profile,
  ask: Ask,
  options: SendOptions = {},
): Promise<Outcome> {
  const { tries = DEFAULT_TRIES, family } = options;
  const sealer = sealerOf(profile);
  const transport = options.transport ?? profile.transport;
  // Servers answer nothing to a connection.
  const answers = sealer.answers && transport.kind === "udp";
  const reply = answers && options.reply !== false;
  const addresses = await findAddresses(runtime, profile, family);
  const codes = new Codes(profile, ask.code);
  const ear = new Ear(runtime);
  const socket = await openSocket(runtime, ear);
  const failures: string[] = [];
  let sent = false;
  try {
    const once = onlyOnce(ask);
    for (const group of codes.wanted ? byFamily(addresses) : [addresses]) {
      for (let tried = 0; tried < tries; tried++) {
        const code = codes.next(runtime.nowMs());
        const seal = (server: string) =>
          sealer.seal({ ...ask, code: code.code }, {
            nowMs: runtime.nowMs(),
            random: (size) => runtime.random(size),
            wantsReply: reply,
            server,
            own: () => runtime.ownAddresses(),
            run: (argv, options) => runtime.run(argv, options),
          });
        const round = {
          addresses: group,
          next: once(seal),
          send: (packet: Uint8Array<ArrayBuffer>, host: string) => {
            const port = transport.port ?? profile.server.port;
            const to = { host, port };
            return deliver(runtime, socket, packet, to, transport, sealer);
          },
        };
        const failed = await sendRound(round, ear, code.use);
        // A family that cannot be sent to is not waited for.
        if (failed.length === group.length && tried === 0) {
          failures.push(...failed);
          break;
        }
        sent = true;
        codes.spend(code);
        if (!reply) return { kind: "sent", addresses: group };
        const waitMs = tried === tries - 1 && options.patienceMs
          ? options.patienceMs
          : tried === 0
          ? FIRST_WAIT_MS
          : NEXT_WAIT_MS;
        const answered = await ear.wait(waitMs);
        if (answered) return answered;
      }
    }
  } finally {
    await socket.close();
  }
  if (sent) return { kind: "silent", addresses, tries };
  throw new FailureError(
    `cannot send to ${profile.server.host}: ${failures.join("; ")}`,
    "is this machine connected, and does its own firewall let UDP out?",
  );
}

// A server takes a one-time code once: over both families at a time it would
// open for the one whose packet is faster, and refuse the other.
function byFamily(addresses: readonly string[]): string[][] {
  const groups = Map.groupBy(addresses, isIpv4);
  return [...groups.values()];
}

// One packet for each address and try, so that each may open its own family's
// source. To run a command all get the same one, and the server takes it once,
// however long the command runs and the answer takes.
function onlyOnce(ask: Ask): (seal: Seal) => Seal {
  if (ask.action !== "run") return (seal) => seal;
  let only: ReturnType<Seal> | undefined;
  return (seal) => (server) => only ??= seal(server);
}

type Seal = (server: string) => Sealed | Promise<Sealed>;

interface Round {
  readonly addresses: readonly string[];
  /** The packet for an address. */
  readonly next: Seal;
  readonly send: (
    packet: Uint8Array<ArrayBuffer>,
    address: string,
  ) => Promise<void>;
}

/** Sends a packet to each address; why that failed, where it did. */
async function sendRound(
  { addresses, next, send }: Round,
  ear: Ear,
  code: CodeUse,
): Promise<string[]> {
  const failures: string[] = [];
  for (const address of addresses) {
    let forget = () => {};
    try {
      const sealed = await next(address);
      forget = ear.expect(sealed, code);
      await send(sealed.packet, address);
    } catch (error) {
      // A dialect may have nothing to say to an address, and to another it has.
      if (!(error instanceof SystemError || error instanceof FailureError)) {
        throw error;
      }
      forget();
      failures.push(`${address}: ${error.message}`);
    }
  }
  return failures;
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
