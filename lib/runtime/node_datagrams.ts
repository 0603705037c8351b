/**
 * UDP by node:dgram: for Bun, and for Deno where it runs without its unstable
 * net.
 * @module
 */

import type * as dgram from "node:dgram";
import process from "node:process";
import { type Endpoint, isIpv4, parseAddress } from "../values/address.ts";
import { systemError, translatingAsync } from "./errors.ts";
import type { DatagramHandler, Datagrams } from "./runtime.ts";

/** Binds a UDP socket, as {@linkcode Runtime.listenDatagram} says. */
export async function listenDatagram(
  at: Endpoint,
  handler: DatagramHandler,
): Promise<Datagrams> {
  const socket = await withoutIpv6(at.host, (host) => bindDatagram(host, at));
  const { address, port } = socket.address();
  const mapped = address.includes(":");
  socket.on("message", (bytes, from) => {
    handler(bytes, { host: bareAddress(from.address), port: from.port });
  });
  socket.on("error", () => {}); // ICMP errors of earlier sends
  return {
    at: { host: address, port },
    send: (bytes, to) => {
      const host = mapped && isIpv4(to.host) ? `::ffff:${to.host}` : to.host;
      // It throws at port 0, which whoever writes packets by hand may come from.
      return translatingAsync(() =>
        new Promise((resolve, reject) =>
          socket.send(
            bytes,
            to.port,
            host,
            (error) => error ? reject(error) : resolve(),
          )
        )
      );
    },
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** Binds "::" to IPv4 alone on a machine that has no IPv6. */
export async function withoutIpv6<T>(
  host: string,
  bind: (host: string) => Promise<T>,
): Promise<T> {
  try {
    return await bind(host);
  } catch (error) {
    const failed = systemError(error);
    if (host !== "::" || failed.code === "EADDRINUSE") throw failed;
    return await bind("0.0.0.0").catch((error) => {
      throw systemError(error);
    });
  }
}

function bindDatagram(host: string, { port }: Endpoint): Promise<dgram.Socket> {
  return new Promise((resolve, reject) => {
    const socket = process.getBuiltinModule("node:dgram").createSocket(
      isIpv4(host) ? "udp4" : "udp6",
    );
    socket.once("error", reject);
    socket.bind(port, host, () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/** The address without the IPv6 form of an IPv4 one. */
export function bareAddress(text: string): string {
  if (text.startsWith("::ffff:") && text.includes(".")) return text.slice(7);
  return parseAddress(text) ?? text;
}
