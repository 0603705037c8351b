/**
 * A service and a caller inside a namespace, in one small program: JSON
 * orders on standard input, one answer a line on standard output.
 */

import * as dgram from "node:dgram";
import * as net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

/** Orders to the program. */
export type Order =
  /** Listens, and echoes what comes. */
  | { do: "serve"; protocol: Protocol; host: string; port: number }
  /** Tries to reach a service; TCP connections with `keep` stay, as that name. */
  | {
    do: "reach";
    protocol: Protocol;
    source: string;
    target: string;
    port: number;
    timeoutMs: number;
    keep?: string;
    /** Bytes to send by UDP, in hexadecimal; "ping" otherwise. */
    hex?: string;
  }
  /** Sends so many datagrams, one after the other. */
  | {
    do: "send";
    source: string;
    target: string;
    port: number;
    count: number;
    hex?: string;
  }
  /** Has the services send a byte on each connection that they have. */
  | { do: "push" }
  /** Tries if a kept connection still echoes. */
  | { do: "talk"; keep: string; timeoutMs: number };

type Protocol = "tcp" | "udp";

/** Length of a tick of {@linkcode patience}. */
const TICK_MS = 20;

/**
 * Calls back when this process has waited for so long and heard nothing. Time
 * in which a busy machine did not let it run does not count: each tick counts
 * once, however late it comes, and what has come meanwhile is heard first.
 */
function patience(ms: number, over: () => void): () => void {
  let ticks = Math.ceil(ms / TICK_MS);
  const timer = setInterval(() => {
    if (--ticks > 0) return;
    clearInterval(timer);
    over();
  }, TICK_MS);
  return () => clearInterval(timer);
}

/** Outcome of an order. */
export interface Outcome {
  readonly id: number;
  readonly ok: boolean;
}

const kept = new Map<string, net.Socket>();
/** Connections that came to the services. */
const served = new Set<net.Socket>();

function follow(order: Order): Promise<boolean> {
  switch (order.do) {
    case "serve":
      return order.protocol === "tcp"
        ? serveTcp(order.host, order.port)
        : serveUdp(order.host, order.port);
    case "reach":
      return order.protocol === "tcp" ? reachTcp(order) : reachUdp(order);
    case "send":
      return send(order);
    case "push":
      for (const socket of served) socket.write("x");
      return Promise.resolve(served.size > 0);
    case "talk": {
      const socket = kept.get(order.keep);
      return socket ? echoes(socket, order.timeoutMs) : Promise.resolve(false);
    }
  }
}

function serveTcp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      served.add(socket);
      socket.on("close", () => served.delete(socket));
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    server.on("error", () => resolve(false));
    server.listen(port, host, () => resolve(true));
  });
}

function serveUdp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
    socket.on("error", () => resolve(false));
    socket.on("message", (bytes, from) => {
      socket.send(bytes, from.port, from.address);
    });
    socket.bind(port, host, () => resolve(true));
  });
}

type Reach = Extract<Order, { do: "reach" }>;

function reachTcp(order: Reach): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({
      host: order.target,
      port: order.port,
      localAddress: order.source,
    });
    const end = (ok: boolean) => {
      stop();
      if (ok && order.keep !== undefined) kept.set(order.keep, socket);
      else socket.destroy();
      resolve(ok);
    };
    const stop = patience(order.timeoutMs, () => end(false));
    socket.on("error", () => end(false));
    socket.once("connect", () => end(true));
  });
}

function reachUdp(order: Reach): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(
      net.isIPv6(order.target) ? "udp6" : "udp4",
    );
    const end = (ok: boolean) => {
      stop();
      socket.close();
      resolve(ok);
    };
    const stop = patience(order.timeoutMs, () => end(false));
    socket.on("error", () => end(false));
    socket.once("message", () => end(true));
    socket.bind(0, order.source, () => {
      const bytes = order.hex === undefined
        ? "ping"
        : Uint8Array.fromHex(order.hex);
      socket.send(bytes, order.port, order.target);
    });
  });
}

async function send(
  { source, target, port, count, hex }: Extract<Order, { do: "send" }>,
): Promise<boolean> {
  const socket = dgram.createSocket(net.isIPv6(target) ? "udp6" : "udp4");
  socket.on("error", () => {}); // "connection refused", told by ICMP
  await new Promise<void>((resolve) => socket.bind(0, source, resolve));
  socket.setBroadcast(true);
  const bytes = hex === undefined ? "ping" : Uint8Array.fromHex(hex);
  const once = () =>
    new Promise<Error | null>((resolve) =>
      socket.send(bytes, port, target, (error) => resolve(error ?? null))
    );
  let failed = 0;
  for (let sent = 0; sent < count; sent++) {
    let error = await once();
    // The answer to an earlier datagram, told in place of sending this one.
    while (error && (error as { code?: string }).code === "ECONNREFUSED") {
      error = await once();
    }
    if (error) failed++;
  }
  socket.close();
  return failed === 0;
}

function echoes(socket: net.Socket, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (ok: boolean) => {
      stop();
      resolve(ok);
    };
    const stop = patience(timeoutMs, () => end(false));
    socket.once("data", () => end(true));
    socket.write("ping");
  });
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, ...order } = JSON.parse(line) as Order & { id: number };
    follow(order).then((ok) => {
      process.stdout.write(JSON.stringify({ id, ok }) + "\n");
    });
  }
  process.exit(0);
}
