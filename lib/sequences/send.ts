/**
 * Knocks a sequence, the same on the wire as knockd's own client: one SYN, and
 * never a second, for each hit by TCP; one datagram of one zero byte for each
 * by UDP; every hit from a fresh port.
 * @module
 */

import type { NativeLibrary, Runtime } from "../runtime/runtime.ts";
import { AF_INET, AF_INET6, isIpv4, socketAddress } from "../values/address.ts";
import type { Hit } from "./sequence.ts";
import { SystemError } from "../values/errors.ts";

/** Knocks at one address. */
export interface Knocker {
  /** Makes one hit, which is never acknowledged; throws SystemError when it cannot be sent. */
  hit(hit: Hit): Promise<void>;
  /** Ends what is under way; throws SystemError when some of it was not sent. */
  close(): Promise<void>;
}

/** Payload of a UDP hit. */
const DATAGRAM = Uint8Array.of(0);

/**
 * Longest life of a connection that cannot be ended at once:
 * shorter than the second after which every system retransmits.
 */
const CONNECT_MS = 250;

/** Why a connection could not even be begun: nothing was sent. */
const UNSENT =
  /^E(NETUNREACH|HOSTUNREACH|NETDOWN|ADDRNOTAVAIL|ACCES|PERM|INVAL)$/;

/** Calls of the C library for sockets. */
const SOCKET_CALLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  getsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "buffer"],
    result: "i32",
  },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

export async function openKnocker(
  runtime: Runtime,
  address: string,
): Promise<Knocker> {
  const library = await openLibc(runtime);
  const begun: Promise<SystemError | null>[] = [];
  const touch = library === null
    ? (port: number) => void begun.push(connect(runtime, address, port))
    : (port: number) => touchNative(library, address, port);
  return {
    hit: async ({ protocol, port }) => {
      if (protocol === "tcp") touch(port);
      else await sendDatagram(runtime, address, port);
    },
    close: async () => {
      library?.close();
      const [unsent] = (await Promise.all(begun)).filter((one) => one !== null);
      if (unsent) throw unsent;
    },
  };
}

/** Opens the C library of Linux, for sockets; null where it cannot be used. */
export async function openLibc(
  runtime: Runtime,
): Promise<NativeLibrary | null> {
  if (runtime.platform !== "linux") return null;
  for (const name of ["libc.so.6", "libc.so"]) {
    const library = await runtime.openLibrary(name, SOCKET_CALLS);
    if (library) return library;
  }
  return null;
}

/** Begins a connection and closes it before any answer: its SYN is all there is. */
function touchNative(
  library: NativeLibrary,
  address: string,
  port: number,
): void {
  const family = isIpv4(address) ? AF_INET : AF_INET6;
  const to = socketAddress(address, port);
  const touch = (type: number) => {
    const socket = library.call("socket", family, type | SOCK_NONBLOCK, 0);
    const result = library.call("connect", socket, to, to.length);
    library.call("close", socket);
    return result;
  };
  // One that is begun fails at first, too. Only where there is no way to the
  // address, a socket of UDP, which sends nothing by that, fails as well.
  if (touch(SOCK_STREAM) === 0 || touch(SOCK_DGRAM) === 0) return;
  throw new SystemError("ENETUNREACH", "there is no route to it");
}

async function connect(
  runtime: Runtime,
  host: string,
  port: number,
): Promise<SystemError | null> {
  try {
    const options = { timeoutMs: CONNECT_MS };
    (await runtime.connectStream({ host, port }, options)).close();
  } catch (error) {
    // Refused or not answered: the SYN was sent, and that is all.
    if (error instanceof SystemError && UNSENT.test(error.code)) return error;
  }
  return null;
}

async function sendDatagram(
  runtime: Runtime,
  address: string,
  port: number,
): Promise<void> {
  const any = { host: isIpv4(address) ? "0.0.0.0" : "::", port: 0 };
  const socket = await runtime.listenDatagram(any, () => {});
  try {
    await socket.send(DATAGRAM, { host: address, port });
  } finally {
    socket.close();
  }
}

/** Kinds of sockets, from linux/socket.h. */
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
