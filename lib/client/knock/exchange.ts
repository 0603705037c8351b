/** One exchange with a server: packets from one socket, with their one-time codes, until one is answered. */

import type { Datagrams, Runtime } from "../../runtime/runtime.ts";
import { parseAddress } from "../../values/address.ts";
import { failing, FailureError, SystemError } from "../../values/errors.ts";
import { familyOf, type Naming } from "../address/naming.ts";
import { Replies } from "./answers.ts";
import type { CodeUse, Outcome } from "./outcome.ts";
import { deliver, type Transport } from "./transport.ts";
import type { NewRequest, Sealed, Sealer } from "../../dialects/dialect.ts";
import {
  oneTimeCode,
  parseCodeSecret,
  STEP_MS,
} from "../../dialects/crypto/codes.ts";
import type { Profile } from "../profile/profile.ts";

/** Wait for an answer to the first packet and to each further one, milliseconds. */
const FIRST_WAIT_MS = 1000;
const NEXT_WAIT_MS = 2000;

/** Packets to send, their transport and their targets. */
interface Exchange {
  readonly profile: Profile;
  readonly request: NewRequest;
  readonly sealer: Sealer;
  readonly transport: Transport;
  readonly reply: boolean;
  readonly addresses: readonly string[];
  readonly codes: CodeSource;
  readonly naming: Naming;
  readonly tries: number;
  readonly patienceMs: number | undefined;
}

/** Sends packets until one is answered; throws FailureError when none could be sent. */
export async function exchange(
  runtime: Runtime,
  knock: Exchange,
): Promise<Outcome> {
  const { profile, request, sealer, transport, reply, codes, tries } = knock;
  const { addresses, naming, patienceMs } = knock;
  const ear = new Replies(runtime);
  const socket = await openSocket(runtime, ear);
  const failures: string[] = [];
  let sent = false;
  try {
    const once = onlyOnce(request);
    for (const group of codes.wanted ? byFamily(addresses) : [addresses]) {
      for (let tried = 0; tried < tries; tried++) {
        const code = codes.next(runtime.nowMs());
        const seal = (server: string) => {
          const address = request.address ?? naming[familyOf(server)] ?? null;
          return sealer.seal({ ...request, address, code: code.code }, {
            nowMs: runtime.nowMs(),
            random: (size) => runtime.random(size),
            wantsReply: reply,
            server,
            own: () => runtime.ownAddresses(),
            run: (argv, options) => runtime.run(argv, options),
          });
        };
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
        const waitMs = tried === tries - 1 && patienceMs
          ? patienceMs
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
    `cannot send to ${
      parseAddress(profile.server.host) ? "" : `${profile.server.host}: `
    }${failures.join("; ")}`,
    transport.kind === "udp"
      ? "check that this machine is connected, and that its firewall lets UDP out"
      : `check that the server listens on ${transport.kind}/${
        transport.port ?? profile.server.port
      }: \`listen\` in its configuration must name it`,
  );
}

// A server takes a one-time code once: over both families at a time it would
// open for the one whose packet is faster, and refuse the other.
function byFamily(addresses: readonly string[]): string[][] {
  const groups = Map.groupBy(addresses, familyOf);
  return [...groups.values()];
}

// One packet for each address and try, so that each may open its own family's
// source. To run a command all get the same one, and the server takes it once,
// however long the command runs and the answer takes.
function onlyOnce(request: NewRequest): (seal: Seal) => Seal {
  if (request.action !== "run") return (seal) => seal;
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
  ear: Replies,
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
      // A dialect may be unable to name one address, and able to name another.
      if (!(error instanceof SystemError || error instanceof FailureError)) {
        throw error;
      }
      forget();
      failures.push(`${address}: ${error.message}`);
    }
  }
  return failures;
}

async function openSocket(runtime: Runtime, ear: Replies): Promise<Datagrams> {
  const at = { host: "::", port: 0 };
  return await failing(
    "cannot open a UDP socket",
    () => runtime.listenDatagram(at, (bytes, from) => ear.hear(bytes, from)),
  );
}

/** A packet's one-time code; null = it has none. */
interface PacketCode {
  readonly code: number | null;
  readonly use: CodeUse;
}

/**
 * The codes of one knock and its retries: the one that was typed, always, or
 * those of the profile's own secret. A server takes each code once, so a retry
 * within the same 30 s has the code of the step before, which is good still.
 * The next one is not touched: it belongs to the next knock.
 */
export class CodeSource {
  readonly #typed: number | null;
  readonly #secret: Uint8Array | null;
  readonly #tried = new Set<number>();

  constructor({ code }: Profile, typed: number | null) {
    this.#typed = typed;
    this.#secret = code === null ? null : parseCodeSecret(code);
  }

  /** True if packets carry codes. */
  get wanted(): boolean {
    return this.#typed !== null || this.#secret !== null;
  }

  /** The code for a further try at a time in Unix milliseconds. */
  next(nowMs: number): PacketCode {
    const code = this.#choose(nowMs);
    if (code === null) return { code, use: "none" };
    return { code, use: this.#tried.has(code) ? "again" : "first" };
  }

  /** Notes that a packet with this code is on its way. */
  spend({ code }: PacketCode): void {
    if (code !== null) this.#tried.add(code);
  }

  #choose(nowMs: number): number | null {
    if (this.#typed !== null || !this.#secret) return this.#typed;
    const codes = [nowMs, nowMs - STEP_MS].map((timeMs) =>
      oneTimeCode(this.#secret!, timeMs)
    );
    return codes.find((code) => !this.#tried.has(code)) ?? codes[0]!;
  }
}
