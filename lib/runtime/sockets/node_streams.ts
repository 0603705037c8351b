/** TCP by node:net, for Bun. */

import type * as net from "node:net";
import process from "node:process";
import type { Endpoint } from "../../values/address.ts";
import { systemError } from "../errors.ts";
import { Garbage } from "./garbage.ts";
import { bareAddress, withoutIpv6 } from "./node.ts";
import { type Runtime, type Stream, SystemError } from "../runtime.ts";

// Loaded when it is used: most clients knock by UDP alone.
const networking = () => process.getBuiltinModule("node:net");

export const streams: Pick<Runtime, "listenStream" | "connectStream"> = {
  listenStream: async (at, handler) => {
    const server = await withoutIpv6(at.host, (host) => bindStream(host, at));
    const garbage = new Garbage();
    server.on("connection", (socket) => {
      handler(nodeStream(socket));
      garbage.note();
    });
    server.on("error", () => {});
    const { address, port } = server.address() as net.AddressInfo;
    return {
      at: { host: address, port },
      close: () => {
        garbage.stop();
        server.close();
        return Promise.resolve(); // the port is free, connections may go on
      },
    };
  },

  connectStream: (to, options = {}) =>
    new Promise((resolve, reject) => {
      const socket = networking().connect({
        host: to.host,
        port: to.port,
        allowHalfOpen: true,
      });
      const timer = options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
          socket.destroy();
          reject(new SystemError("ETIMEDOUT", "no answer in time"));
        }, options.timeoutMs);
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
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve(server);
    });
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
    write: (bytes) =>
      new Promise((resolve, reject) =>
        socket.write(
          bytes,
          (error) => error ? reject(systemError(error)) : resolve(),
        )
      ),
    finish: () => new Promise((resolve) => socket.end(() => resolve())),
    close: () => {
      socket.destroy();
    },
  };
}
