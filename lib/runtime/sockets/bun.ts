/**
 * UDP by Bun's own sockets. Not by node:dgram, which is made of them: loading
 * it takes a client a third of its time.
 * @module
 */

import { type Endpoint, isIpv4 } from "../../values/address.ts";
import { systemError, translating } from "../errors.ts";
import { bareAddress, listenApart, withoutIpv6 } from "./node.ts";
import { paced } from "./pace.ts";
import {
  type DatagramHandler,
  type Datagrams,
  type ListenOptions,
  SystemError,
} from "../runtime.ts";

/** What is used of Bun's. */
interface UdpSocket {
  readonly hostname: string;
  readonly port: number;
  /** False when the system's buffer is full. */
  send(bytes: Uint8Array, port: number, host: string): boolean;
  close(): void;
}

type OpenUdp = (options: {
  hostname: string;
  port: number;
  flags: number;
  socket: {
    /** The bytes are new ones for every datagram. */
    data(own: UdpSocket, bytes: Uint8Array, port: number, host: string): void;
    error(): void;
  };
}) => Promise<UdpSocket>;

/** What an earlier datagram met, and the next one is told of. */
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
  const { udpSocket } = (globalThis as unknown as {
    Bun: { udpSocket: OpenUdp };
  }).Bun;
  const pace = paced(handler, {
    nowMs: () => performance.now(),
    next: (call) => void setImmediate(call),
  });
  const bindTo = flags === 0 ? withoutIpv6 : bindAsIs;
  const socket = await bindTo(host, (hostname) =>
    udpSocket({
      hostname,
      port,
      flags: hostname.includes(":") ? flags : 0,
      socket: {
        data: (_, bytes, port, from) => {
          try {
            pace.take(bytes, { host: bareAddress(from), port });
          } catch (error) {
            // A bug ends the program; Bun would tell it to error() alone.
            setImmediate(() => {
              throw error;
            });
          }
        },
        error: () => {}, // ICMP errors of earlier sends
      },
    }));
  const at = { host: socket.hostname, port: socket.port };
  const isMapped = at.host.includes(":");
  const send = (bytes: Uint8Array, to: Endpoint) =>
    translating(() => {
      const mapped = isMapped && isIpv4(to.host)
        ? `::ffff:${to.host}`
        : to.host;
      if (!socket.send(bytes, to.port, mapped)) {
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

/** Binds to just this host. */
async function bindAsIs<T>(
  host: string,
  bind: (host: string) => Promise<T>,
): Promise<T> {
  try {
    return await bind(host);
  } catch (error) {
    throw systemError(error);
  }
}
