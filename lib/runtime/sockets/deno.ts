/**
 * UDP and TCP in Deno. Not by node:net: there a connection costs half as much
 * again, and it says less well what went wrong.
 * @module
 */

import { bareAddress, type Endpoint, isIpv4 } from "../../values/address.ts";
import { translatingAsync } from "../errors.ts";
import type {
  DatagramHandler,
  Datagrams,
  ListenOptions,
  Runtime,
  Stream,
} from "../runtime.ts";
import { collectGarbage, mapped, withoutIpv6 } from "./common.ts";
import { listenLinux } from "./linux.ts";
import { SystemError } from "../../values/errors.ts";

/** Largest UDP payload, bytes. */
const DATAGRAM_SIZE = 65535;

/** Before the next try to accept, where there are no descriptors left. */
const ACCEPT_AGAIN_MS = 10;

export const network: Pick<
  Runtime,
  "listenDatagram" | "listenStream" | "connectStream"
> = {
  listenDatagram: async (at, handler, options = {}) => {
    let handled = () => {};
    const socket = await bindDatagram(at, (bytes, source) => {
      handler(bytes, source);
      handled();
    }, options);
    const garbage = collectGarbage();
    handled = garbage.note;
    return {
      ...socket,
      close: () => {
        garbage.stop();
        return socket.close();
      },
    };
  },

  listenStream: async (at, handler) => {
    const listener = await withoutIpv6(at.host, (host) => bindStream(host, at));
    const bound = listener.addr;
    const garbage = collectGarbage();
    let closed = false;
    const accept = async () => {
      while (!closed) {
        try {
          handler(denoStream(await listener.accept()));
          garbage.note();
        } catch {
          if (closed) return;
          // Out of descriptors, or a connection that went away: go on.
          await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN_MS));
        }
      }
    };
    const accepted = accept();
    return {
      at: bound.transport === "tcp"
        ? { host: bound.hostname, port: bound.port }
        : at,
      close: () => {
        closed = true;
        garbage.stop();
        listener.close();
        return accepted;
      },
    };
  },

  connectStream: ({ host, port }, { timeoutMs }) =>
    translatingAsync(async () => {
      const signal = AbortSignal.timeout(timeoutMs);
      try {
        return denoStream(
          host.startsWith("/")
            ? await Deno.connect({ transport: "unix", path: host })
            : await Deno.connect({ hostname: host, port, signal }),
        );
      } catch (error) {
        if (!signal.aborted) throw error;
        throw new SystemError("ETIMEDOUT", "no answer in time");
      }
    }),
};

async function bindDatagram(
  at: Endpoint,
  handler: DatagramHandler,
  { batched = false, apart = false }: ListenOptions,
): Promise<Datagrams> {
  // A server's; a client's socket is there sooner without a library.
  const own = batched ? listenLinux(at, handler) : null;
  if (own) return own;
  // A script that is run by itself has no deno.json to turn this on.
  if (!("listenDatagram" in Deno)) {
    const node = await import("./node.ts");
    return await node.listenDatagram(at, handler, { apart });
  }
  if (apart && at.host === "::") {
    const node = await import("./node.ts");
    // Deno's own sockets cannot be of IPv6 alone.
    return await node.listenApart(
      at,
      handler,
      (at, handler) =>
        isIpv4(at.host)
          ? bindDatagram(at, handler, {})
          : node.bindOne(at, handler),
    );
  }
  const socket = await withoutIpv6(
    at.host,
    (hostname) =>
      Deno.listenDatagram({ transport: "udp", hostname, port: at.port }),
  );
  const { hostname, port } = socket.addr as Deno.NetAddr;
  let closed = false;
  const receive = async () => {
    const buffer = new Uint8Array(DATAGRAM_SIZE);
    while (!closed) {
      let datagram: [Uint8Array, Deno.Addr];
      try {
        datagram = await socket.receive(buffer);
      } catch {
        // Closed, or an ICMP error of an earlier send: then go on.
        continue;
      }
      const { hostname, port } = datagram[1] as Deno.NetAddr;
      handler(datagram[0], { host: bareAddress(hostname), port });
    }
  };
  const received = receive();
  return {
    at: { host: hostname, port },
    send: (bytes, to) =>
      translatingAsync(async () => {
        const { port } = to;
        const host = mapped(hostname, to.host);
        await socket.send(bytes, { transport: "udp", hostname: host, port });
      }),
    close: () => {
      closed = true;
      socket.close();
      return received;
    },
  };
}

function bindStream(hostname: string, { port }: Endpoint): Deno.Listener {
  return hostname.startsWith("/")
    ? Deno.listen({ transport: "unix", path: hostname })
    : Deno.listen({ hostname, port });
}

function denoStream(connection: Deno.Conn): Stream {
  const peer = connection.remoteAddr;
  // Most connections are closed unread: no buffer for these.
  let buffer: Uint8Array<ArrayBuffer> | null = null;
  return {
    peer: peer.transport === "tcp"
      ? { host: bareAddress(peer.hostname), port: peer.port }
      : { host: "", port: 0 },
    read: () =>
      translatingAsync(async () => {
        buffer ??= new Uint8Array(65536);
        const count = await connection.read(buffer);
        return count === null ? null : buffer.slice(0, count);
      }),
    write: (bytes) =>
      translatingAsync(async () => {
        let rest = bytes;
        while (rest.length > 0) {
          rest = rest.subarray(await connection.write(rest));
        }
      }),
    finish: () => translatingAsync(() => connection.closeWrite()),
    close: () => {
      try {
        connection.close();
      } catch {
        // It is closed already.
      }
    },
  };
}
