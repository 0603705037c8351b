/**
 * TCP by node:net, for Bun. UDP by node:dgram, for Deno where it runs without
 * its unstable net.
 * @module
 */

import type * as net from "node:net";
import process from "node:process";
import { bareAddress, type Endpoint, isIpv4 } from "../../values/address.ts";
import { calling, systemError, translatingAsync } from "../errors.ts";
import type {
  DatagramHandler,
  Datagrams,
  ListenOptions,
  Runtime,
  Stream,
} from "../runtime.ts";
import { bothFamilies, collectGarbage, mapped, withoutIpv6 } from "./common.ts";
import { SystemError } from "../../values/errors.ts";

/** Binds a UDP socket, as {@linkcode Runtime.listenDatagram} says. */
export async function listenDatagram(
  at: Endpoint,
  handler: DatagramHandler,
  { apart = false }: ListenOptions = {},
): Promise<Datagrams> {
  if (apart && at.host === "::") return await listenApart(at, handler, bindOne);
  const bind = (host: string) => bindDatagram({ ...at, host }, handler, false);
  return await withoutIpv6(at.host, bind);
}

/** Binds one family's socket; of IPv6 alone where the host is "::". */
export function bindOne(
  at: Endpoint,
  handler: DatagramHandler,
): Promise<Datagrams> {
  return translatingAsync(() => bindDatagram(at, handler, true));
}

/**
 * Binds "0.0.0.0" and "::" on one port, by a function that binds "::" to IPv6
 * alone. On a machine without IPv6, "0.0.0.0".
 */
export async function listenApart(
  { port }: Endpoint,
  handler: DatagramHandler,
  bind: (at: Endpoint, handler: DatagramHandler) => Promise<Datagrams>,
): Promise<Datagrams> {
  const ipv4 = await bind({ host: "0.0.0.0", port }, handler);
  let ipv6: Datagrams;
  try {
    // An IPv4 address in an IPv6 packet is forged.
    const only6: DatagramHandler = (bytes, source) => {
      if (!isIpv4(source.host)) handler(bytes, source);
    };
    ipv6 = await bind({ host: "::", port: ipv4.at.port }, only6);
  } catch (error) {
    if (systemError(error).code !== "EADDRINUSE") return ipv4;
    await ipv4.close();
    throw error;
  }
  return bothFamilies(ipv6.at, ipv4, ipv6);
}

function bindDatagram(
  { host, port }: Endpoint,
  handler: DatagramHandler,
  ipv6Only: boolean,
): Promise<Datagrams> {
  return new Promise((resolve, reject) => {
    const socket = process.getBuiltinModule("node:dgram").createSocket(
      isIpv4(host) ? { type: "udp4" } : { type: "udp6", ipv6Only },
    );
    // Once it is bound, ICMP errors of earlier sends, which are nothing to us.
    socket.on("error", reject);
    socket.on("message", (bytes, from) => {
      handler(bytes, { host: bareAddress(from.address), port: from.port });
    });
    socket.bind(port, host, () => {
      const { address, port } = socket.address();
      resolve({
        at: { host: address, port },
        send: (bytes, to) => {
          const host = mapped(address, to.host);
          // It throws at port 0, which forged packets may come from.
          return calling((done) => socket.send(bytes, to.port, host, done));
        },
        close: () => new Promise((resolve) => socket.close(() => resolve())),
      });
    });
  });
}

// Loaded when it is used: most clients knock by UDP alone.
const networking = () => process.getBuiltinModule("node:net");

export const streams: Pick<Runtime, "listenStream" | "connectStream"> = {
  listenStream: async (at, handler) => {
    const server = await withoutIpv6(at.host, (host) => bindStream(host, at));
    const garbage = collectGarbage();
    server.on("connection", (socket) => {
      handler(nodeStream(socket));
      garbage.note();
    });
    server.on("error", () => {});
    const bound = server.address() as net.AddressInfo | string;
    return {
      at: typeof bound === "string"
        ? at
        : { host: bound.address, port: bound.port },
      close: () => {
        garbage.stop();
        server.close();
        return Promise.resolve(); // the port is free, connections may go on
      },
    };
  },

  connectStream: (to, { timeoutMs }) =>
    new Promise((resolve, reject) => {
      const socket = networking().connect({
        ...to.host.startsWith("/") ? { path: to.host } : to,
        allowHalfOpen: true,
      });
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new SystemError("ETIMEDOUT", "no answer in time"));
      }, timeoutMs);
      socket.once("error", (error) => {
        clearTimeout(timer);
        reject(systemError(error));
      });
      socket.once("connect", () => {
        clearTimeout(timer);
        resolve(nodeStream(socket));
      });
    }),
};

function bindStream(host: string, { port }: Endpoint): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = networking().createServer({ allowHalfOpen: true });
    server.once("error", reject);
    server.listen(
      host.startsWith("/") ? { path: host } : { port, host },
      () => {
        server.off("error", reject);
        resolve(server);
      },
    );
  });
}

function nodeStream(socket: net.Socket): Stream {
  let failed: SystemError | null = null;
  let wake = () => {};
  let over = false;
  let listens = false;
  socket.on("error", (error) => {
    failed = systemError(error);
    wake();
  });
  /** Reads from now on: most connections are closed unread. */
  const listen = () => {
    if (listens) return;
    listens = true;
    over = socket.destroyed;
    socket.on("readable", () => wake());
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        over = true;
        wake();
      });
    }
  };
  return {
    peer: {
      host: bareAddress(socket.remoteAddress ?? ""),
      port: socket.remotePort ?? 0,
    },
    read: async () => {
      listen();
      while (true) {
        const bytes = socket.read() as Uint8Array | null;
        if (bytes) return bytes;
        if (failed) throw failed;
        if (over) return null;
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
    write: (bytes) => calling((done) => void socket.write(bytes, done)),
    finish: () => new Promise((resolve) => socket.end(() => resolve())),
    close: () => void socket.destroy(),
  };
}
