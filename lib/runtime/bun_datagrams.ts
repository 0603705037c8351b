/**
 * UDP by Bun's own sockets. Not by node:dgram, which is made of them: loading
 * it takes a client a third of its time.
 * @module
 */

import { type Endpoint, isIpv4 } from "../values/address.ts";
import { systemError, translating } from "./errors.ts";
import { bareAddress, withoutIpv6 } from "./node_datagrams.ts";
import { paced } from "./pace.ts";
import {
  type DatagramHandler,
  type Datagrams,
  SystemError,
} from "./runtime.ts";

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
  socket: {
    /** The bytes are new ones for every datagram. */
    data(own: UdpSocket, bytes: Uint8Array, port: number, host: string): void;
    error(): void;
  };
}) => Promise<UdpSocket>;

/** What an earlier datagram met, and the next one is told of. */
const EARLIER = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/;

/** Binds a UDP socket, as {@linkcode Runtime.listenDatagram} says. */
export async function listenDatagram(
  { host, port }: Endpoint,
  handler: DatagramHandler,
): Promise<Datagrams> {
  const { udpSocket } = (globalThis as unknown as {
    Bun: { udpSocket: OpenUdp };
  }).Bun;
  const pace = paced(handler, {
    nowMs: () => performance.now(),
    next: (call) => void setImmediate(call),
  });
  const socket = await withoutIpv6(host, (hostname) =>
    udpSocket({
      hostname,
      port,
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
