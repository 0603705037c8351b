/** IP packets, as far as port sequences look into them. Pure. */

import { ADDRESS_SIZE, addressFromBytes, isIpv4 } from "../values/address.ts";
import { type Protocol, protocolOf } from "../values/ports.ts";

/** The head of a TCP or UDP packet, and the data of a datagram. */
export interface Packet {
  /** Address it was sent from, canonical. */
  readonly source: string;
  /** Address it was sent to, canonical. */
  readonly target: string;
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Port it was sent from. */
  readonly sourcePort: number;
  /** The port it was sent to. */
  readonly port: number;
  /** Bits of `FLAG`; 0 for UDP. */
  readonly flags: number;
  /** TCP's sequence number; 0 for UDP. */
  readonly sequenceNumber: number;
  /** Data of a UDP packet, a view of the bytes that were decoded; absent for TCP. */
  readonly payload?: Uint8Array;
}

const IPV4_HEADER_SIZE = 20;
const IPV6_HEADER_SIZE = 40;

/** Bytes of each header that are required: up to TCP's flags, or UDP's ports. */
const NEEDED = { tcp: 14, udp: 4 } as const;
export const UDP_HEADER_SIZE = 8;

const FRAGMENT = 44;
const AUTHENTICATION = 51;

/**
 * IPv6 extension headers that may stand before TCP or UDP (RFC 8200 §4):
 * hop-by-hop, routing, destination, and those two.
 */
export const EXTENSIONS: readonly number[] = //
  [0, 43, FRAGMENT, AUTHENTICATION, 60];

/** The most extension headers looked through. */
const MAX_EXTENSIONS = 8;

/**
 * Reads an IPv4 or IPv6 packet, which may be cut off behind the flags. Null
 * when it is no TCP or UDP, a later fragment, or broken; never throws.
 */
export function decodeIp(bytes: Uint8Array): Packet | null {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4) return decodeIpv4(bytes);
  if (version === 6) return decodeIpv6(bytes);
  return null;
}

function decodeIpv4(bytes: Uint8Array): Packet | null {
  if (bytes.length < IPV4_HEADER_SIZE) return null;
  const headerSize = (bytes[0]! & 0x0f) * 4;
  if (headerSize < IPV4_HEADER_SIZE) return null;
  // A later fragment has no ports in it.
  if ((u16(bytes, 6) & 0x1fff) !== 0) return null;
  return decodeTransport(
    bytes.subarray(headerSize),
    bytes[9]!,
    bytes.subarray(12, 16).join("."),
    bytes.subarray(16, 20).join("."),
  );
}

function decodeIpv6(bytes: Uint8Array): Packet | null {
  if (bytes.length < IPV6_HEADER_SIZE) return null;
  let next = bytes[6]!;
  let at = IPV6_HEADER_SIZE;
  for (let i = 0; i < MAX_EXTENSIONS && EXTENSIONS.includes(next); i++) {
    if (at + 8 > bytes.length) return null;
    if (next === FRAGMENT && u16(bytes, at + 2) >> 3 !== 0) return null;
    const size = next === FRAGMENT
      ? 8
      : next === AUTHENTICATION
      ? (bytes[at + 1]! + 2) * 4
      : (bytes[at + 1]! + 1) * 8;
    next = bytes[at]!;
    at += size;
  }
  const target = 8 + ADDRESS_SIZE;
  const source = addressFromBytes(bytes.subarray(8, target));
  // An IPv4 address in an IPv6 packet is forged.
  if (isIpv4(source)) return null;
  return decodeTransport(
    bytes.subarray(at),
    next,
    source,
    addressFromBytes(bytes.subarray(target, target + ADDRESS_SIZE)),
  );
}

function decodeTransport(
  bytes: Uint8Array,
  number: number,
  source: string,
  target: string,
): Packet | null {
  const protocol = protocolOf(number);
  if (!protocol || bytes.length < NEEDED[protocol]) return null;
  const isTcp = protocol === "tcp";
  return {
    source,
    target,
    protocol,
    sourcePort: u16(bytes, 0),
    port: u16(bytes, 2),
    flags: isTcp ? bytes[13]! & 0x3f : 0,
    sequenceNumber: isTcp ? u32(bytes, 4) : 0,
    ...!isTcp && { payload: payloadOf(bytes) },
  };
}

/** Data of a datagram; empty where its length lies or it was cut off. */
function payloadOf(bytes: Uint8Array): Uint8Array {
  const size = bytes.length < UDP_HEADER_SIZE ? 0 : u16(bytes, 4);
  return bytes.subarray(
    UDP_HEADER_SIZE,
    size > bytes.length ? UDP_HEADER_SIZE : size,
  );
}

/** Two bytes as a number; those that are not there are 0. */
export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 16 | u16(bytes, at + 2)) >>> 0;
}
