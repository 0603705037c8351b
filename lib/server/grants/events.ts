/**
 * Changes of nftables as the kernel tells of them (nfnetlink(7), group
 * NFNLGRP_NFTABLES), so that what others delete is put back at once.
 * @module
 */

import type { NativeLibrary, Runtime } from "../../runtime/runtime.ts";

const LIBRARIES = ["libc.so.6", "libc.so"] as const;

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
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

// Of Linux.
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_NETFILTER = 12;
const NFTABLES_GROUP = 7;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;

/** Bytes that may wait: what a change of a hundred thousand elements tells. */
const BUFFER_SIZE = 8 * 1024 * 1024;
/** Longest message, and most of them read at a time. */
const MESSAGE_SIZE = 65_536;
const MOST_MESSAGES = 256;

/** Reads what has changed in nftables since the last time. */
export class NftEvents {
  readonly #libc: NativeLibrary;
  readonly #socket: number;
  readonly #buffer = new Uint8Array(MESSAGE_SIZE);

  private constructor(libc: NativeLibrary, socket: number) {
    this.#libc = libc;
    this.#socket = socket;
  }

  /** Subscribes; null where that cannot be done, for whatever reason. */
  static async open(runtime: Runtime): Promise<NftEvents | null> {
    if (runtime.platform !== "linux") return null;
    for (const name of LIBRARIES) {
      const libc = await runtime.openLibrary(name, SYMBOLS);
      if (!libc) continue;
      const socket = subscribe(libc);
      if (socket !== null) return new NftEvents(libc, socket);
      libc.close();
    }
    return null;
  }

  /**
   * True if somebody has changed a table of these, such as "inet knock", in
   * more than its elements, or may have: some messages were lost.
   */
  changed(tables: readonly string[]): boolean {
    const libc = this.#libc;
    const error = new Uint8Array(4);
    const size = Uint8Array.of(4, 0, 0, 0);
    libc.call("getsockopt", this.#socket, SOL_SOCKET, SO_ERROR, error, size);
    let found = error.some((byte) => byte !== 0);
    for (let read = 0; read < MOST_MESSAGES; read++) {
      const length = libc.call(
        "recv",
        this.#socket,
        this.#buffer,
        MESSAGE_SIZE,
        MSG_DONTWAIT,
      ) as number;
      if (length <= 0) return found;
      found ||= concerns(this.#buffer.subarray(0, length), tables);
    }
    return found;
  }

  close(): void {
    this.#libc.call("close", this.#socket);
    this.#libc.close();
  }
}

function subscribe(libc: NativeLibrary): number | null {
  const socket = libc.call(
    "socket",
    AF_NETLINK,
    SOCK_RAW_CLOEXEC,
    NETLINK_NETFILTER,
  ) as number;
  if (socket < 0) return null;
  const size = new Uint8Array(new Uint32Array([BUFFER_SIZE]).buffer);
  libc.call("setsockopt", socket, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  // struct sockaddr_nl: family, padding, port id, groups.
  const address = new DataView(new ArrayBuffer(12));
  address.setUint16(0, AF_NETLINK, true);
  address.setUint32(8, 1 << (NFTABLES_GROUP - 1), true);
  const bytes = new Uint8Array(address.buffer);
  if (libc.call("bind", socket, bytes, bytes.length) === 0) return socket;
  libc.call("close", socket);
  return null;
}

const HEADER_SIZE = 16;
/** struct nfgenmsg: family, version, resource id. */
const FAMILY_SIZE = 4;
const NFTABLES_SUBSYSTEM = 10;
/** NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE: all the same. */
const TABLE_ATTRIBUTE = 1;

/** Kinds of messages (linux/netfilter/nf_tables.h) that tell of more than elements. */
const KINDS: ReadonlySet<number> = new Set([
  2, // NFT_MSG_DELTABLE
  3, // NFT_MSG_NEWCHAIN
  5, // NFT_MSG_DELCHAIN
  6, // NFT_MSG_NEWRULE
  8, // NFT_MSG_DELRULE
  9, // NFT_MSG_NEWSET
  11, // NFT_MSG_DELSET
]);

const FAMILIES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  10: "ip6",
};

/** True if netlink messages tell of a change of a table of these. Pure; never throws. */
export function concerns(
  bytes: Uint8Array,
  tables: readonly string[],
): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER_SIZE + FAMILY_SIZE <= bytes.length;) {
    const size = view.getUint32(at, true);
    if (size < HEADER_SIZE || at + size > bytes.length) return false;
    const kind = view.getUint16(at + 4, true);
    if (kind >> 8 === NFTABLES_SUBSYSTEM && KINDS.has(kind & 0xff)) {
      const family = FAMILIES[bytes[at + HEADER_SIZE]!];
      const body = bytes.subarray(at + HEADER_SIZE + FAMILY_SIZE, at + size);
      if (tables.includes(`${family} ${tableOf(body)}`)) return true;
    }
    at += size + 3 & ~3;
  }
  return false;
}

/** The table's name among attributes; "" when there is none. */
function tableOf(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = view.getUint16(at, true);
    if (size < 4 || at + size > bytes.length) return "";
    if ((view.getUint16(at + 2, true) & 0x3fff) === TABLE_ATTRIBUTE) {
      const name = bytes.subarray(at + 4, at + size);
      return new TextDecoder().decode(name).replace(/\0.*$/s, "");
    }
    at += size + 3 & ~3;
  }
  return "";
}
