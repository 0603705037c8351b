/**
 * UDP by Bun's own sockets. Not by node:dgram, which is made of them: loading
 * it takes a client a third of its time.
 * @module
 */

import { bareAddress, type Endpoint } from "../../values/address.ts";
import { systemError, translating, translatingAsync } from "../errors.ts";
import type {
  DatagramHandler,
  Datagrams,
  DatagramSource,
  ListenOptions,
} from "../runtime.ts";
import { mapped, withoutIpv6 } from "./common.ts";
import { listenApart } from "./node.ts";
import { SystemError } from "../../values/errors.ts";

/** Part of Bun that is used here. */
declare const Bun: {
  udpSocket(options: {
    hostname: string;
    port: number;
    flags: number;
    socket: {
      /** The bytes are new ones for every datagram. */
      data(own: unknown, bytes: Uint8Array, port: number, host: string): void;
      error(): void;
    };
  }): Promise<{
    readonly hostname: string;
    readonly port: number;
    /** False when the system's buffer is full. */
    send(bytes: Uint8Array, port: number, host: string): boolean;
    close(): void;
  }>;
};

/** Pending socket errors of earlier datagrams, reported with the next one. */
const EARLIER = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/;

/** Binds a UDP socket, as {@linkcode Runtime.listenDatagram} says. */
export function listenDatagram(
  at: Endpoint,
  handler: DatagramHandler,
  { apart = false }: ListenOptions = {},
): Promise<Datagrams> {
  return apart && at.host === "::"
    ? listenApart(at, handler, (at, handler) => bind(at, handler, IPV6_ONLY))
    : bind(at, handler, 0);
}

/** Bun's flag for an IPv6 socket without IPv4; node:dgram uses it, too. */
const IPV6_ONLY = 8;

async function bind(
  { host, port }: Endpoint,
  handler: DatagramHandler,
  flags: number,
): Promise<Datagrams> {
  const pace = paced(handler, {
    nowMs: () => performance.now(),
    next: (call) => void setImmediate(call),
  });
  const open = (hostname: string) =>
    Bun.udpSocket({
      hostname,
      port,
      flags: hostname.includes(":") ? flags : 0,
      socket: {
        data: (_, bytes, port, from) => {
          try {
            pace.take(bytes, { host: bareAddress(from), port });
          } catch (error) {
            // A bug ends the program; Bun would pass it to error() alone.
            setImmediate(() => {
              throw error;
            });
          }
        },
        error: () => {}, // ICMP errors of earlier sends
      },
    });
  const socket = flags === 0
    ? await withoutIpv6(host, open)
    : await translatingAsync(() => open(host));
  const at = { host: socket.hostname, port: socket.port };
  const send = (bytes: Uint8Array, to: Endpoint) =>
    translating(() => {
      if (!socket.send(bytes, to.port, mapped(at.host, to.host))) {
        throw new SystemError("EAGAIN", "the socket's buffer is full");
      }
    });
  return {
    at,
    // deno-lint-ignore require-await -- what it throws is a rejection
    send: async (bytes, to) => {
      try {
        send(bytes, to);
      } catch (error) {
        if (!EARLIER.test(systemError(error).code)) throw error;
        send(bytes, to);
      }
    },
    // deno-lint-ignore require-await
    close: async () => {
      pace.stop();
      socket.close();
    },
  };
}

/** So long datagrams are handled before everything else has its turn. */
const SHARE_MS = 10;
/** Most bytes that wait for the next turn; more are dropped, as the system drops them. */
const MAX_WAITING = 1024 * 1024;
/** Approximate memory of a datagram besides its own bytes. */
const OVERHEAD = 512;

/**
 * Hands datagrams on in their order, and lets everything else have its turn
 * while they come; `next` calls when it had. Bun hands them out for as long as
 * there are more: under a flood no timer, no firewall and no signal would come
 * in between.
 */
export function paced(
  handler: DatagramHandler,
  { nowMs, next }: { nowMs(): number; next(call: () => void): void },
) {
  let waiting: [bytes: Uint8Array, source: DatagramSource][] = [];
  let size = 0;
  let untilMs: number | null = null;
  let stopped = false;

  /** True while this turn's share lasts; the first datagram begins it. */
  const goesOn = (): boolean => {
    const atMs = nowMs();
    if (untilMs === null) {
      untilMs = atMs + SHARE_MS;
      next(begin);
    }
    return atMs < untilMs;
  };
  const begin = () => {
    untilMs = null;
    let done = 0;
    try {
      while (done < waiting.length && goesOn()) {
        const [bytes, source] = waiting[done++]!;
        size -= bytes.length + OVERHEAD;
        handler(bytes, source);
      }
    } finally {
      waiting = waiting.slice(done);
    }
  };
  return {
    /** The bytes are the handler's from here on. */
    take: (bytes: Uint8Array, source: DatagramSource): void => {
      if (stopped) return;
      if (waiting.length === 0 && goesOn()) return handler(bytes, source);
      if (size + bytes.length + OVERHEAD > MAX_WAITING) return;
      size += bytes.length + OVERHEAD;
      waiting.push([bytes, source]);
    },
    /** Forgets what waits. */
    stop: (): void => {
      stopped = true;
      waiting = [];
      size = 0;
    },
  };
}
