/**
 * Library of knock: single packet authorization for other programs. Reads
 * enrolments, knocks at servers, and gives the pure protocol of
 * `@knock/knock/protocol` to those who build their own client or server. Runs
 * in Deno, Bun and Node.js 22 or newer. The wire format is specified in
 * docs/protocol.md.
 *
 * ```ts
 * import { formatPortRange, parsePortRange } from "@knock/knock";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(formatPortRange(parsePortRange("tcp/22")!), "tcp/22");
 * ```
 * @module
 */

import type { Outcome } from "./lib/client/knock/outcome.ts";
import { sendKnock } from "./lib/client/knock/send.ts";
import { UDP } from "./lib/client/knock/transport.ts";
import type { Enrolment } from "./lib/client/profile/enrolment.ts";
import type { Profile } from "./lib/client/profile/profile.ts";
import type { Runtime } from "./lib/runtime/runtime.ts";
import { UsageError } from "./lib/values/errors.ts";
import type { Action, Endpoint, PortRange } from "./protocol.ts";

export type {
  Answered,
  CodeUse,
  Outcome,
  Sent,
  Silent,
} from "./lib/client/knock/outcome.ts";
export {
  type Enrolment,
  formatEnrolment,
  parseEnrolment,
} from "./lib/client/profile/enrolment.ts";
export { FailureError } from "./lib/values/errors.ts";
export * from "./protocol.ts";

/** Request of {@linkcode knock}. Every field is optional. */
export interface KnockRequest {
  /** Verb. Default `open`. */
  readonly action?: Action;
  /** Ports to open or close, at most 15. Default: all that the client may open. */
  readonly ports?: readonly PortRange[];
  /** Name of the command, for the action `run`. */
  readonly command?: string;
  /** Length of the grant, seconds. Default: the server's. */
  readonly seconds?: number;
  /** Address to open for. Default: the address that the packet comes from. */
  readonly address?: string;
  /** One-time code, 0 to 999999. Default: computed from the enrolment's secret, if it has one. */
  readonly code?: number;
}

/** UDP socket of the caller, for {@linkcode knock}. */
export interface KnockSocket {
  /** Sends one datagram to an IP address and port. A failure is thrown. */
  send(bytes: Uint8Array, to: Endpoint): Promise<void> | void;
  /** Calls `handler` for every datagram, until the returned function is called. */
  receive(
    handler: (bytes: Uint8Array, from: Endpoint) => void,
  ): () => void;
}

/** Options of {@linkcode knock}. */
export interface KnockSettings {
  /** Socket to use. Default: a UDP socket of the runtime, closed at the end. */
  readonly socket?: KnockSocket;
  /** X25519 private key of the client, 32 bytes, if the enrolment has none. */
  readonly key?: Uint8Array;
  /** Most packets to each address of the server: the first waits 1 s for a reply, others 2 s. Default 3. */
  readonly tries?: number;
  /** False: sends one packet to each address and does not wait. Default true. */
  readonly reply?: boolean;
  /** Address family to use. Default: both. */
  readonly family?: "IPv4" | "IPv6";
}

/**
 * Knocks at the server of an enrolment and waits for its answer, which is
 * authenticated. The outcome says whether the server did it, refused it or was
 * silent; a silent server may have received the packet.
 *
 * Throws {@linkcode UsageError} if the request does not fit into a packet or a
 * key is missing, {@linkcode FailureError} if the server's name does not resolve
 * or no packet could be sent. Needs the permission to use the network in Deno.
 *
 * @example With a socket of the caller
 * ```ts
 * import { knock, knock1Dialect, type KnockSocket, publicKeyOf } from "@knock/knock";
 * import { assertEquals } from "@std/assert";
 *
 * const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
 * const [serverKey, clientKey, psk] = [random(32), random(32), random(32)];
 * const enrolment = {
 *   name: "laptop",
 *   host: "192.0.2.1",
 *   port: 62201,
 *   server: publicKeyOf(serverKey),
 *   key: clientKey,
 *   psk,
 * };
 *
 * // A server in memory. A real one is a UDP socket and `knock serve`.
 * const clients = [{ name: "laptop", key: publicKeyOf(clientKey), psk }];
 * const server = knock1Dialect(serverKey, clients, 120_000);
 * const scene = { nowMs: Date.now(), seen: () => false, mayCost: () => true };
 * const { promise, resolve } = Promise.withResolvers<
 *   Parameters<KnockSocket["receive"]>[0]
 * >();
 * const socket: KnockSocket = {
 *   async send(bytes, to) {
 *     const opened = server.open(bytes, scene);
 *     if (!opened.ok) throw new Error(opened.why);
 *     const { seconds } = opened.request;
 *     const answer = { count: 1, seconds, timeMs: Date.now(), address: "192.0.2.7" };
 *     const reply = opened.seal({ ...answer, status: "done" }, random(32));
 *     (await promise)(reply, to);
 *   },
 *   receive(handler) {
 *     resolve(handler);
 *     return () => {};
 *   },
 * };
 *
 * const outcome = await knock(enrolment, { seconds: 60 }, { socket });
 * if (outcome.kind !== "answered") throw new Error(outcome.kind);
 * assertEquals(outcome.answer.status, "done");
 * assertEquals(outcome.answer.seconds, 60);
 * ```
 */
export async function knock(
  enrolment: Enrolment,
  request: KnockRequest = {},
  options: KnockSettings = {},
): Promise<Outcome> {
  const { action = "open", ports = [], command = null } = request;
  const { seconds = 0, address = null, code = null } = request;
  const { socket, key = enrolment.key, ...sending } = options;
  if (!key) {
    throw new UsageError(
      `the enrolment of "${enrolment.name}" has no private key`,
      "pass the client's own key in the options",
    );
  }
  const { name, host, port, server, psk } = enrolment;
  const profile: Profile = {
    name,
    server: { host, port },
    knock: { server, key, psk },
    fwknop: null,
    openme: null,
    openspa: null,
    code: enrolment.code ?? null,
    open: [],
    seconds: 0,
    from: "source",
    transport: UDP,
    remember: false,
    resolve: null,
  };
  const runtime = await loadRuntime();
  return await sendKnock(
    socket ? { ...runtime, ...listeningOn(socket) } : runtime,
    profile,
    { action, ports, command, seconds, address, code },
    sending,
  );
}

async function loadRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) {
    return (await import("./lib/runtime/deno.ts")).denoRuntime;
  }
  return (await import("./lib/runtime/bun.ts")).nodeRuntime;
}

/** Socket of the caller in the place of the runtime's. */
function listeningOn(socket: KnockSocket): Pick<Runtime, "listenDatagram"> {
  return {
    listenDatagram: (at, handler) => {
      const stop = socket.receive(handler);
      return Promise.resolve({
        at,
        send: async (bytes, to) => await socket.send(bytes, to),
        close: async () => await stop(),
      });
    },
  };
}
