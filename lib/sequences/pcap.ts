/**
 * Captures as `tcpdump -w -` writes them (draft-ietf-opsawg-pcap), read as
 * they come. Pure.
 * @module
 */

import { isLoopback } from "../values/address.ts";
import { concat } from "../values/bytes.ts";
import { decodeIp, type Packet, u16 } from "./packet.ts";

export interface Captured {
  /** When it was captured, Unix milliseconds with their fraction. */
  readonly atMs: number;
  /** Null when it is nothing that sequences look at. */
  readonly packet: Packet | null;
  /** The text of the rule that logged it; null but for NFLOG. */
  readonly prefix: string | null;
}

const FILE_HEADER_SIZE = 24;
const RECORD_HEADER_SIZE = 16;

/** The first four bytes: stamps in microseconds, or in nanoseconds. */
const MICROSECONDS = 0xa1b2c3d4;
const NANOSECONDS = 0xa1b23c4d;

/** Larger than any packet: a record that claims more is no record. */
const MAX_RECORD_SIZE = 0x40000;

/** Reads a capture, however it is cut into pieces. */
export class PcapReader {
  #kept = new Uint8Array(0);
  #format: Format | null = null;
  #broken: string | null = null;

  /** Error in the capture, after which nothing more is read; null = none. */
  get broken(): string | null {
    return this.#broken;
  }

  /** Takes the next bytes and returns the packets that are whole now. */
  feed(bytes: Uint8Array): Captured[] {
    if (this.#broken !== null) return [];
    const all = this.#kept = concat(this.#kept, bytes);
    const view = new DataView(all.buffer);
    let at = 0;
    if (this.#format === null) {
      if (all.length < FILE_HEADER_SIZE) return [];
      const format = readFormat(view);
      if (typeof format === "string") return this.#break(format);
      this.#format = format;
      at = FILE_HEADER_SIZE;
    }
    const { little, unitsPerSecond, decode } = this.#format;
    const found: Captured[] = [];
    while (at + RECORD_HEADER_SIZE <= all.length) {
      const size = view.getUint32(at + 8, little);
      if (size > MAX_RECORD_SIZE) {
        this.#break(`a packet of ${size} bytes`);
        return found;
      }
      const end = at + RECORD_HEADER_SIZE + size;
      if (end > all.length) break;
      const atMs = view.getUint32(at, little) * 1000 +
        view.getUint32(at + 4, little) * 1000 / unitsPerSecond;
      const frame = all.subarray(at + RECORD_HEADER_SIZE, end);
      found.push({ atMs, ...decode(frame, little) });
      at = end;
    }
    this.#kept = all.slice(at);
    return found;
  }

  #break(why: string): Captured[] {
    this.#broken = why;
    this.#kept = new Uint8Array(0);
    return [];
  }
}

interface Format {
  readonly little: boolean;
  readonly unitsPerSecond: number;
  readonly decode: Decode;
}

type Frame = Omit<Captured, "atMs">;
type Decode = (frame: Uint8Array, little: boolean) => Frame;

function readFormat(view: DataView): Format | string {
  for (const little of [false, true]) {
    const magic = view.getUint32(0, little);
    if (magic !== MICROSECONDS && magic !== NANOSECONDS) continue;
    // The upper bits announce a checksum at the end of each frame.
    const link = view.getUint32(20, little) & 0xffff;
    const decode = LINKS[link];
    if (!decode) return `link type ${link} cannot be read`;
    const unitsPerSecond = magic === MICROSECONDS ? 1e6 : 1e9;
    return { little, unitsPerSecond, decode };
  }
  return "not a pcap capture";
}

/** Link types (the registry of tcpdump.org) that can be read. */
const LINKS: Readonly<Record<number, Decode>> = {
  0: behind(4), // BSD loopback
  1: ethernet,
  12: behind(0), // raw IP, as some systems number it
  14: behind(0),
  101: behind(0), // raw IP
  108: behind(4), // OpenBSD loopback
  113: cooked(16, 2), // Linux cooked, version 1
  228: behind(0), // raw IPv4
  229: behind(0), // raw IPv6
  239: nflog,
  276: cooked(20, 8), // Linux cooked, version 2
};

function behind(headerSize: number): Decode {
  return (frame) => ({
    packet: decodeIp(frame.subarray(headerSize)),
    prefix: null,
  });
}

/** ARPHRD_LOOPBACK of linux/if_arp.h. */
const LOOPBACK_DEVICE = 772;

/** Linux's cooked headers, which name the kind of the interface. */
function cooked(headerSize: number, deviceAt: number): Decode {
  const decode = behind(headerSize);
  return (frame, little) => {
    const captured = decode(frame, little);
    // The kernel drops a loopback source that comes from outside; a capture shows it.
    const forged = captured.packet &&
      u16(frame, deviceAt) !== LOOPBACK_DEVICE &&
      isLoopback(captured.packet.source);
    return forged ? { packet: null, prefix: null } : captured;
  };
}

const ETHERNET_HEADER_SIZE = 14;
const VLAN_TAG_SIZE = 4;
const VLAN_TYPES: ReadonlySet<number> = new Set([0x8100, 0x88a8]);
const IP_TYPES: ReadonlySet<number> = new Set([0x0800, 0x86dd]);

function ethernet(frame: Uint8Array): Frame {
  let at = ETHERNET_HEADER_SIZE;
  const type = () => u16(frame, at - 2);
  while (VLAN_TYPES.has(type())) at += VLAN_TAG_SIZE;
  const packet = IP_TYPES.has(type()) ? decodeIp(frame.subarray(at)) : null;
  return { packet, prefix: null };
}

/** NFLOG: a header, then attributes as in linux/netfilter/nfnetlink_log.h. */
const NFLOG_HEADER_SIZE = 4;
const NFLOG_PAYLOAD = 9;
const NFLOG_PREFIX = 10;

function nflog(frame: Uint8Array, little: boolean): Frame {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let packet: Packet | null = null;
  let prefix: string | null = null;
  let at = NFLOG_HEADER_SIZE;
  while (at + 4 <= frame.length) {
    // Attributes are in the byte order of the machine that captured.
    const size = view.getUint16(at, little);
    const type = view.getUint16(at + 2, little) & 0x7fff;
    if (size < 4) break;
    const value = frame.subarray(at + 4, at + size);
    if (type === NFLOG_PAYLOAD) packet = decodeIp(value);
    if (type === NFLOG_PREFIX) {
      prefix = new TextDecoder().decode(value).replace(/\0.*$/s, "");
    }
    at += size + 3 & ~3;
  }
  return { packet, prefix };
}
