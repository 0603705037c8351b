/**
 * Puts back what others delete of ours: at once where the kernel tells of it,
 * else by a look once a second.
 * @module
 */

import type {
  NativeLibrary,
  Runtime,
  Stoppable,
} from "../../runtime/runtime.ts";
import { openLibc } from "../../sequences/send.ts";
import { attempt } from "../report/log.ts";
import type { Server } from "../state/server.ts";
import { care } from "./upkeep.ts";

/** Interval of asking for the kernel's events, milliseconds. */
const EVENTS_MS = 40;
/** Interval of looks where the kernel does not tell. */
const LOOK_MS = 1000;
/** Shortest pause between two looks, as a multiple of the time that the last one took. */
const PAUSE = 4;

/** Starts to put back what others delete, until it is stopped. */
export async function keepRestored(server: Server): Promise<Stoppable> {
  const { runtime, queue, log } = server;
  const events = await openNftEvents(runtime);
  let notBeforeMs = -Infinity;
  let isDue = false;
  let isLooking = false;
  const look = async () => {
    isDue = false;
    isLooking = true;
    const startMs = runtime.monotonicMs();
    await attempt(log, () => queue.add(() => care(server)));
    const endMs = runtime.monotonicMs();
    // Every grant of iptables is a change of rules, and a look is two programs.
    const { backend } = server.active.config.firewall;
    const pauseMs = backend === "nft" ? PAUSE * (endMs - startMs) : LOOK_MS;
    notBeforeMs = endMs + pauseMs;
    isLooking = false;
  };
  const timers = [
    runtime.every(LOOK_MS, () => {
      const { tables = null } = server.active.firewall;
      if (tables === null || events && tables.length > 0) return;
      isDue = true;
      if (!isLooking) look();
    }),
  ];
  if (events) {
    timers.push(runtime.every(EVENTS_MS, () => {
      const { tables = [] } = server.active.firewall;
      if (events.changed(tables)) isDue = true;
      const nowMs = runtime.monotonicMs();
      if (isDue && !isLooking && nowMs >= notBeforeMs) look();
    }));
  }
  return {
    stop() {
      for (const timer of timers) timer.stop();
      events?.close();
    },
  };
}

// Changes of nftables as the kernel tells of them: nfnetlink(7), group
// NFNLGRP_NFTABLES.

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

/** Changes of nftables since the last look. */
export interface NftEvents {
  /**
   * True if somebody has changed a table of these, such as "inet knock", in
   * more than its elements, or may have: some messages were lost.
   */
  changed(tables: readonly string[]): boolean;
  close(): void;
}

/** Subscribes to changes of nftables; null where that cannot be done, for whatever reason. */
export async function openNftEvents(
  runtime: Runtime,
): Promise<NftEvents | null> {
  const libc = await openLibc(runtime);
  const socket = libc && subscribe(libc);
  if (socket !== null) return readEvents(libc!, socket);
  libc?.close();
  return null;
}

function readEvents(libc: NativeLibrary, socket: number): NftEvents {
  const buffer = new Uint8Array(MESSAGE_SIZE);
  return {
    changed(tables) {
      const error = new Uint8Array(4);
      const size = Uint8Array.of(4, 0, 0, 0);
      libc.call("getsockopt", socket, SOL_SOCKET, SO_ERROR, error, size);
      let found = error.some((byte) => byte !== 0);
      for (let read = 0; read < MOST_MESSAGES; read++) {
        const from = [socket, buffer, MESSAGE_SIZE, MSG_DONTWAIT];
        const length = libc.call("recv", ...from) as number;
        if (length <= 0) return found;
        found ||= concerns(buffer.subarray(0, length), tables);
      }
      return found;
    },
    close() {
      libc.call("close", socket);
      libc.close();
    },
  };
}

function subscribe(libc: NativeLibrary): number | null {
  const kind = [AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_NETFILTER];
  const socket = libc.call("socket", ...kind) as number;
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
