/** Sockets by the C library's own calls: blocking, and timed without an event loop. */

import { SOCK_NONBLOCK, SOCK_STREAM } from "../lib/sequences/send.ts";
import { AF_INET, socketAddress } from "../lib/values/address.ts";
import { runtime } from "../tests/fakes/runtime.ts";

/** Of Linux: socket.h, tcp.h and poll.h. */
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVBUF = 8;
const SO_LINGER = 13;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
/** struct pollfd: fd i32, events i16, revents i16. */
const POLLFD_SIZE = 8;

const library = await runtime.openLibrary("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: {
    parameters: ["i32", "pointer", "pointer", "i32"],
    result: "i32",
  },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  ppoll: {
    parameters: ["buffer", "u32", "buffer", "pointer"],
    result: "i32",
  },
  close: { parameters: ["i32"], result: "i32" },
});
if (!library) throw new Error("needs the C library of a Linux with glibc");
const libc = library;

const call = (name: string, ...values: unknown[]) => {
  const result = libc.call(name, ...values) as number;
  if (result < 0) throw new Error(`${name}() failed`);
  return result;
};

/** A UDP socket from an address to a port; what was sent comes back by {@linkcode receive}. */
export function openDatagram(
  source: string,
  target: string,
  port: number,
): number {
  const socket = call("socket", AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const from = socketAddress(source, 0);
  const to = socketAddress(target, port);
  call("setsockopt", socket, SOL_SOCKET, SO_RCVBUF, int(1 << 20), 4);
  call("bind", socket, from, from.length);
  call("connect", socket, to, to.length);
  return socket;
}

/** Sends a datagram; whether the system took it. */
export function send(socket: number, bytes: Uint8Array): boolean {
  return libc.call("send", socket, bytes, bytes.length, 0) === bytes.length;
}

/** The next datagram within so many microseconds, or null. */
export function receive(socket: number, waitUs: number): Uint8Array | null {
  if (waitFor([socket], POLLIN, waitUs).length === 0) return null;
  const buffer = new Uint8Array(2048);
  const size = libc.call("recv", socket, buffer, buffer.length, 0) as number;
  return size < 0 ? null : buffer.subarray(0, size);
}

/** Begins a connection from an address, and does not wait for it. */
export function beginConnect(
  source: string,
  target: string,
  port: number,
): number {
  const socket = call("socket", AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const from = socketAddress(source, 0);
  const to = socketAddress(target, port);
  call("setsockopt", socket, SOL_SOCKET, SO_LINGER, linger(), 8);
  call("bind", socket, from, from.length);
  libc.call("connect", socket, to, to.length); // EINPROGRESS
  return socket;
}

/** Which of these connections are there within so many microseconds. */
export function connected(
  sockets: readonly number[],
  waitUs: number,
): number[] {
  return waitFor(sockets, POLLOUT, waitUs);
}

/** Closes a socket; a connection ends with a reset, and leaves no trace. */
export function close(socket: number): void {
  libc.call("close", socket);
}

/** Listens at these ports and closes what comes, for ever. */
export function acceptAll(ports: readonly number[], ready: () => void): never {
  const listeners = ports.map((port) => {
    const socket = call("socket", AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const at = socketAddress("0.0.0.0", port);
    call("setsockopt", socket, SOL_SOCKET, SO_REUSEADDR, int(1), 4);
    call("bind", socket, at, at.length);
    call("listen", socket, 4096);
    return socket;
  });
  ready();
  while (true) {
    for (const listener of waitFor(listeners, POLLIN, 1_000_000)) {
      while (true) {
        const socket = libc.call("accept4", listener, null, null, 0) as number;
        if (socket < 0) break;
        close(socket);
      }
    }
  }
}

function waitFor(
  sockets: readonly number[],
  events: number,
  waitUs: number,
): number[] {
  const fds = new DataView(new ArrayBuffer(sockets.length * POLLFD_SIZE));
  for (const [index, socket] of sockets.entries()) {
    fds.setInt32(index * POLLFD_SIZE, socket, true);
    fds.setInt16(index * POLLFD_SIZE + 4, events, true);
  }
  const wait = new BigInt64Array([
    BigInt(Math.floor(waitUs / 1_000_000)),
    BigInt(Math.round(waitUs % 1_000_000)) * 1000n,
  ]);
  const bytes = new Uint8Array(fds.buffer);
  const ready = libc.call(
    "ppoll",
    bytes,
    sockets.length,
    new Uint8Array(wait.buffer),
    null,
  ) as number;
  if (ready <= 0) return [];
  return sockets.filter((_, index) => {
    const found = fds.getInt16(index * POLLFD_SIZE + 6, true);
    return (found & events) !== 0 && (found & POLLERR) === 0;
  });
}

function int(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}

/** struct linger: on, and no seconds: close() resets. */
function linger(): Uint8Array {
  return new Uint8Array(new Int32Array([1, 0]).buffer);
}
