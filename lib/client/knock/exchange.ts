/** One exchange with a server: packets from one socket, with their one-time codes, until one is answered. */

import type { Runtime } from "../../runtime/runtime.ts";
import { type Endpoint, parseAddress } from "../../values/address.ts";
import { failing, FailureError, SystemError } from "../../values/errors.ts";
import { familyOf, type Naming } from "../address/naming.ts";
import type { Answered, CodeUse, Outcome } from "./outcome.ts";
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

/**
 * After a "no" to one packet, how long a "yes" to another is waited for: a
 * client may be allowed over IPv4 and not over IPv6.
 */
const SECOND_OPINION_MS = 250;

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
  const port = transport.port ?? profile.server.port;
  const ear = new Replies(runtime);
  const at = { host: "::", port: 0 };
  const socket = await failing(
    "cannot open a UDP socket",
    () => runtime.listenDatagram(at, (bytes, from) => ear.hear(bytes, from)),
  );
  // A server takes a one-time code once: over both families at a time it would
  // open for the one whose packet is faster, and refuse the other.
  const groups = codes.wanted
    ? [...Map.groupBy(addresses, familyOf).values()]
    : [addresses];
  const failures: string[] = [];
  let only: ReturnType<Sealer["seal"]> | undefined;
  let sent = false;
  try {
    for (const group of groups) {
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
        const failed = await failuresOf(group, async (host) => {
          // One packet for each address and try, so that each may open its own
          // family's source. To run a command all get the same one, and the
          // server takes it once, however long the command runs and the answer
          // takes.
          const isOne = request.action === "run";
          const sealed = await (isOne ? only ??= seal(host) : seal(host));
          const { packet } = sealed;
          const to = { host, port };
          const send = () =>
            deliver(runtime, socket, packet, to, transport, sealer);
          await ear.expect(sealed, code.use, send);
        });
        // A family that cannot be sent to is not waited for.
        if (failed.length === group.length && tried === 0) {
          failures.push(...failed);
          break;
        }
        sent = true;
        codes.spend(code);
        if (!reply) return { kind: "sent", addresses: group };
        const usualMs = tried === 0 ? FIRST_WAIT_MS : NEXT_WAIT_MS;
        const isLast = tried === tries - 1;
        const answered = await ear.wait(isLast && patienceMs || usualMs);
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
      : `check that the server listens on ${transport.kind}/${port}: ` +
        "`listen` in its configuration must name it",
  );
}

/** Sends to one address after the other; why that failed, where it did. */
async function failuresOf(
  addresses: readonly string[],
  send: (address: string) => Promise<void>,
): Promise<string[]> {
  const failures: string[] = [];
  for (const address of addresses) {
    try {
      await send(address);
    } catch (error) {
      // A dialect may be unable to name one address, and able to name another.
      if (!(error instanceof SystemError || error instanceof FailureError)) {
        throw error;
      }
      failures.push(`${address}: ${error.message}`);
    }
  }
  return failures;
}

/** Opens the answer to a packet; null for any other datagram. */
type OpenAnswer = (bytes: Uint8Array, source: Endpoint) => Answered | null;

/** Hears what comes back, and keeps the best answer. */
class Replies {
  readonly #runtime: Runtime;
  /** For each packet that may be answered still. */
  readonly #outstanding = new Set<OpenAnswer>();
  /** Aborted by the first answer, and by the last word. */
  readonly #first = new AbortController();
  readonly #last = new AbortController();
  #best: Answered | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Sends a packet, and counts answers to it from now on, unless that fails. */
  async expect(
    sealed: Sealed,
    code: CodeUse,
    send: () => Promise<void>,
  ): Promise<void> {
    const sentMs = this.#runtime.nowMs();
    const sentMonotonicMs = this.#runtime.monotonicMs();
    const open: OpenAnswer = (bytes, { host, port }) => {
      const answer = sealed.openReply(bytes);
      if (!answer) return null;
      const roundTripMs = this.#runtime.monotonicMs() - sentMonotonicMs;
      // Not every dialect's answer has the server's time.
      const clockAheadMs = answer.timeMs > 0
        ? answer.timeMs - (sentMs + roundTripMs / 2)
        : 0;
      const times = { roundTripMs, clockAheadMs };
      const from = { host, port };
      return { kind: "answered", answer, from, ...times, code };
    };
    this.#outstanding.add(open);
    try {
      await send();
    } catch (error) {
      this.#outstanding.delete(open);
      throw error;
    }
  }

  /** Judges a datagram; anything but a true answer is no matter. */
  hear(bytes: Uint8Array, source: Endpoint): void {
    for (const open of this.#outstanding) {
      const answered = open(bytes, source);
      if (!answered) continue;
      this.#outstanding.delete(open);
      if (this.#best?.answer.status !== "done") this.#best = answered;
      this.#first.abort();
      if (answered.answer.status === "done" || this.#outstanding.size === 0) {
        this.#last.abort();
      }
      return;
    }
  }

  /** Waits for an answer; null when none came in time. */
  async wait(ms: number): Promise<Answered | null> {
    await this.#runtime.sleep(ms, this.#first.signal);
    if (this.#best) {
      await this.#runtime.sleep(SECOND_OPINION_MS, this.#last.signal);
    }
    return this.#best;
  }
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
  readonly #tried = new Set<number | null>();

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
    const secret = this.#secret;
    const codes = this.#typed === null && secret
      ? [nowMs, nowMs - STEP_MS].map((timeMs) => oneTimeCode(secret, timeMs))
      : [this.#typed];
    const unused = codes.find((code) => !this.#tried.has(code));
    const code = unused ?? codes[0] ?? null;
    if (code === null) return { code, use: "none" };
    return { code, use: this.#tried.has(code) ? "again" : "first" };
  }

  /** Notes that a packet with this code is on its way. */
  spend({ code }: PacketCode): void {
    this.#tried.add(code);
  }
}
