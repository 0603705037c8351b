/**
 * UDP in Deno by the C library of Linux: a batch of datagrams a call, read by
 * another thread, and a large socket buffer. Deno's own sockets lose one in
 * seven of 50,000 datagrams a second on a busy machine; these lose none.
 * @module
 */

import {
  addressFromBytes,
  AF_INET,
  AF_INET6,
  type Endpoint,
  isIpv4,
  socketAddress,
} from "../../values/address.ts";
import type { DatagramHandler, Datagrams } from "../runtime.ts";
import { SystemError } from "../../values/errors.ts";
import { bothFamilies, openLibc } from "./common.ts";

/** Most datagrams in a batch, and longest time before other work gets a turn. */
const BATCH = 128;
const SHARE_MS = 10;
/** Datagrams that come closer together are gathered for so long. */
const BUSY_MS = 2;
const GATHER_MS = 1;
/** Longer ones are cut, and no dialect has any. */
const SLOT_SIZE = 2048;
/** A tenth of a second of 50,000 datagrams a second: each takes some 800 bytes of it. */
const BUFFER_SIZE = 4 * 1024 * 1024;

// Of Linux, where these machines have them in common.
const ARCHITECTURES: readonly string[] = ["x86_64", "aarch64"];
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const MSG_DONTWAIT = 0x40;
const MSG_WAITFORONE = 0x10000;
const SHUT_RD = 0;
/** struct mmsghdr: name, its length, iovec, their number, control 16, flags 8; length. */
const HEADER_SIZE = 64;
const NAME_SIZE_AT = 8;
const LENGTH_AT = 56;
const IOVEC_SIZE = 16;
/** A struct sockaddr_in6 of 28 bytes, or a sockaddr_in. */
const NAME_SIZE = 32;

const RECVMMSG = {
  parameters: ["i32", "buffer", "u32", "i32", "pointer"],
  result: "i32",
} as const;

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  recvmmsg: RECVMMSG,
  /** The same, by another thread: it may wait. */
  wait: { ...RECVMMSG, name: "recvmmsg", nonblocking: true },
  sendto: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
    result: "isize",
  },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/**
 * Binds UDP sockets at a port, at "::" one for each family; null where that
 * cannot be done, for whatever reason. Port 0 is one: each family would get a
 * port of its own.
 */
export function listenLinux(
  at: Endpoint,
  handler: DatagramHandler,
): Datagrams | null {
  if (at.port === 0 || !ARCHITECTURES.includes(Deno.build.arch)) return null;
  const libc = openLibc(SYMBOLS);
  if (!libc) return null;
  if (at.host !== "::") return bindOne(libc, at, handler);
  const ipv4 = bindOne(libc, { ...at, host: "0.0.0.0" }, handler);
  const ipv6 = bindOne(libc, at, handler);
  if (ipv4 && ipv6) return bothFamilies(at, ipv4, ipv6);
  ipv4?.close();
  ipv6?.close();
  return null;
}

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

function bindOne(
  libc: Library,
  at: Endpoint,
  handler: DatagramHandler,
): Datagrams | null {
  const family = isIpv4(at.host) ? AF_INET : AF_INET6;
  const fd = libc.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return null;
  const set = (level: number, option: number, value: number) =>
    libc.setsockopt(fd, level, option, new Int32Array([value]), 4) === 0;
  if (family === AF_INET6) set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  // More than the system's limit takes CAP_NET_ADMIN.
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_SIZE)) {
    set(SOL_SOCKET, SO_RCVBUF, BUFFER_SIZE);
  }
  const own = socketAddress(at.host, at.port);
  if (libc.bind(fd, own, own.length) !== 0) {
    libc.close(fd);
    return null;
  }
  const batch = new Batch();
  let closed = false;
  const take = (count: number) => {
    for (let index = 0; index < count && !closed; index++) {
      batch.hand(index, handler);
    }
    return count;
  };
  /** Takes what there is, for as long as other work can wait. */
  const drain = () => {
    const untilMs = performance.now() + SHARE_MS;
    let all = 0;
    for (let count = BATCH; count === BATCH && performance.now() < untilMs;) {
      const flags = MSG_DONTWAIT;
      count = take(libc.recvmmsg(fd, batch.clear(), BATCH, flags, null));
      all += Math.max(0, count);
    }
    return all;
  };
  const receive = async () => {
    let wokeMs = -Infinity;
    while (!closed) {
      // Below 0 is an error of an earlier send: go on.
      take(await libc.wait(fd, batch.clear(), BATCH, MSG_WAITFORONE, null));
      const nowMs = performance.now();
      const isBusy = nowMs - wokeMs < BUSY_MS;
      wokeMs = nowMs;
      // Another thread costs more than a datagram: not one for each of many.
      while (isBusy && !closed) {
        await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
        if (closed || drain() === 0) break;
      }
    }
    libc.close(fd);
  };
  const received = receive();
  return {
    at,
    // deno-lint-ignore require-await -- what it throws is a rejection
    send: async (bytes, to) => {
      if (closed) throw new SystemError("EBADF", "the socket is closed");
      const name = socketAddress(to.host, to.port);
      const data = new Uint8Array(bytes);
      const { length } = data;
      // deno-fmt-ignore
      const sent = libc.sendto(
        fd, data, BigInt(length), MSG_DONTWAIT, name, name.length,
      );
      if (Number(sent) !== length) {
        throw new SystemError("EIO", "the datagram could not be sent");
      }
    },
    close: () => {
      if (closed) return received;
      closed = true;
      libc.shutdown(fd, SHUT_RD); // ends the call that waits
      return received;
    },
  };
}

/** Room for a batch, in one piece, since the kernel writes to all of it. */
class Batch {
  readonly #memory = new ArrayBuffer(
    BATCH * (HEADER_SIZE + IOVEC_SIZE + NAME_SIZE + SLOT_SIZE),
  );
  readonly #view = new DataView(this.#memory);
  readonly #headers = new Uint8Array(this.#memory, 0, BATCH * HEADER_SIZE);
  readonly #namesAt = BATCH * (HEADER_SIZE + IOVEC_SIZE);
  readonly #dataAt = this.#namesAt + BATCH * NAME_SIZE;

  constructor() {
    const start = Deno.UnsafePointer.value(
      Deno.UnsafePointer.of(new Uint8Array(this.#memory)),
    );
    const word = (at: number, value: bigint) =>
      this.#view.setBigUint64(at, value, true);
    const pointer = (offset: number) => BigInt(start) + BigInt(offset);
    for (let index = 0; index < BATCH; index++) {
      const header = index * HEADER_SIZE;
      const iovec = BATCH * HEADER_SIZE + index * IOVEC_SIZE;
      word(header, pointer(this.#namesAt + index * NAME_SIZE));
      word(header + 16, pointer(iovec));
      word(header + 24, 1n);
      word(iovec, pointer(this.#dataAt + index * SLOT_SIZE));
      word(iovec + 8, BigInt(SLOT_SIZE));
    }
  }

  /** The headers, made ready for a call: the last one left its lengths there. */
  clear(): Uint8Array<ArrayBuffer> {
    for (let index = 0; index < BATCH; index++) {
      const at = index * HEADER_SIZE + NAME_SIZE_AT;
      this.#view.setUint32(at, NAME_SIZE, true);
    }
    return this.#headers;
  }

  hand(index: number, handler: DatagramHandler): void {
    const header = index * HEADER_SIZE;
    // None: the socket was shut down.
    if (this.#view.getUint32(header + NAME_SIZE_AT, true) === 0) return;
    const source = this.#sourceOf(this.#namesAt + index * NAME_SIZE);
    if (!source) return;
    const length = this.#view.getUint32(header + LENGTH_AT, true);
    const at = this.#dataAt + index * SLOT_SIZE;
    handler(new Uint8Array(this.#memory, at, length), source);
  }

  #sourceOf(at: number): Endpoint | null {
    const view = this.#view;
    const port = view.getUint16(at + 2);
    if (view.getUint16(at, true) === AF_INET) {
      const byte = (index: number) => view.getUint8(at + 4 + index);
      return { host: `${byte(0)}.${byte(1)}.${byte(2)}.${byte(3)}`, port };
    }
    const host = addressFromBytes(new Uint8Array(this.#memory, at + 8, 16));
    // An IPv6 packet that claims to come from an IPv4 address.
    return isIpv4(host) ? null : { host, port };
  }
}
