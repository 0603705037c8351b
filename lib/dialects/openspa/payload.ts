/**
 * Contents of OpenSPA packets: the items of a request and of a response. Items may come
 * in any order, so a replay is known by what is signed, not by what it means.
 * @module
 */

import {
  ADDRESS_SIZE,
  addressFromBytes,
  addressToBytes,
  isIpv4,
} from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import {
  type PortRange,
  PROTOCOL_NUMBERS,
  protocolOf,
} from "../../values/ports.ts";
import { type Item, readItems, writeItems } from "./tlv.ts";

/** Bytes of a client's UUID. */
export const UUID_SIZE = 16;
/** The longest duration of a response, in seconds: 24 bits. */
export const MAX_DURATION = 0xff_ffff;

export interface OpenspaRequest {
  /** Unix milliseconds, whole seconds on the wire. */
  readonly timestampMs: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly ports: PortRange;
  /** Address to open for, canonical. */
  readonly address: string;
  /** The service's address, canonical. */
  readonly target: string;
}

interface OpenspaResponse extends Pick<OpenspaRequest, "ports" | "target"> {
  /** 0 = refused. */
  readonly seconds: number;
}

// Types of items: in a packet …
const TIMESTAMP = 1;
const UUID = 2;
const FIREWALL = 3;
// … and in its firewall item.
const PROTOCOL = 1;
const FIRST_PORT = 2;
const LAST_PORT = 3;
const CLIENT_IPV4 = 4;
const CLIENT_IPV6 = 5;
const TARGET_IPV4 = 6;
const TARGET_IPV6 = 7;
const DURATION = 8;

/** Addresses of no host. */
const UNSPECIFIED = ["0.0.0.0", "::"];
const TIMESTAMP_SIZE = 8;
const PORT_SIZE = 2;
const DURATION_SIZE = 3;
const IPV4_SIZE = 4;
/** Where IPv4 stands in the 16 bytes of a mapped address. */
const IPV4_AT = ADDRESS_SIZE - IPV4_SIZE;

type Items = ReadonlyMap<number, Uint8Array>;

/** Writes a request's items. Throws UsageError for addresses that are none. */
export function encodeRequest(request: OpenspaRequest): Uint8Array {
  const { ports, address, target } = request;
  const seconds = Math.floor(request.timestampMs / 1000);
  return writeItems(
    [TIMESTAMP, uint(seconds, TIMESTAMP_SIZE)],
    [UUID, request.uuid],
    [
      FIREWALL,
      writeItems(
        [PROTOCOL, uint(PROTOCOL_NUMBERS[ports.protocol], 1)],
        [FIRST_PORT, uint(ports.first, PORT_SIZE)],
        [LAST_PORT, uint(ports.last, PORT_SIZE)],
        addressItem(address, CLIENT_IPV4, CLIENT_IPV6),
        addressItem(target, TARGET_IPV4, TARGET_IPV6),
      ),
    ],
  );
}

/** Contents of a request for a protocol without ports, such as ICMP. */
interface OtherRequest extends Omit<OpenspaRequest, "ports"> {
  readonly protocol: number;
}

/** Reads a request's items; null if one is missing or has no meaning. */
export function decodeRequest(
  bytes: Uint8Array,
): OpenspaRequest | OtherRequest | null {
  const items = readItems(bytes);
  const time = items?.get(TIMESTAMP);
  const uuid = items?.get(UUID);
  const firewall = readFirewall(items);
  if (time?.length !== TIMESTAMP_SIZE || uuid?.length !== UUID_SIZE) {
    return null;
  }
  const address = firewall && readAddress(firewall, CLIENT_IPV4, CLIENT_IPV6);
  const target = firewall && readAddress(firewall, TARGET_IPV4, TARGET_IPV6);
  if (!address || !target) return null;
  const said = { timestampMs: readUint(time) * 1000, uuid, address, target };
  const number = firewall!.get(PROTOCOL);
  if (number?.length === 1 && !protocolOf(number[0])) {
    return { ...said, protocol: number[0]! };
  }
  const ports = readPorts(firewall!);
  return ports && { ...said, ports };
}

/** Writes a response's items; a longer duration than 24 bits hold is cut. */
export function encodeResponse(response: OpenspaResponse): Uint8Array {
  const { ports, target, seconds } = response;
  return writeItems([
    FIREWALL,
    writeItems(
      [PROTOCOL, uint(PROTOCOL_NUMBERS[ports.protocol], 1)],
      addressItem(target, TARGET_IPV4, TARGET_IPV6),
      [FIRST_PORT, uint(ports.first, PORT_SIZE)],
      [LAST_PORT, uint(ports.last, PORT_SIZE)],
      [DURATION, uint(Math.min(seconds, MAX_DURATION), DURATION_SIZE)],
    ),
  ]);
}

/** Reads a response's items; null if one is missing or has no meaning. */
export function decodeResponse(bytes: Uint8Array): OpenspaResponse | null {
  const firewall = readFirewall(readItems(bytes));
  const duration = firewall?.get(DURATION);
  const ports = firewall && readPorts(firewall);
  const target = firewall && readAddress(firewall, TARGET_IPV4, TARGET_IPV6);
  if (!ports || !target || duration?.length !== DURATION_SIZE) return null;
  return { ports, target, seconds: readUint(duration) };
}

function readFirewall(items: Items | null): Items | null {
  const firewall = items?.get(FIREWALL);
  return firewall ? readItems(firewall) : null;
}

function readPorts(firewall: Items): PortRange | null {
  const number = firewall.get(PROTOCOL);
  const low = firewall.get(FIRST_PORT);
  const high = firewall.get(LAST_PORT);
  const protocol = number?.length === 1 ? protocolOf(number[0]) : null;
  if (!protocol) return null;
  if (low?.length !== PORT_SIZE || high?.length !== PORT_SIZE) return null;
  const first = readUint(low);
  const last = readUint(high);
  return first >= 1 && first <= last ? { protocol, first, last } : null;
}

/** Exactly one of the two must be there, and be a host's address. */
function readAddress(
  firewall: Items,
  ipv4: number,
  ipv6: number,
): string | null {
  const four = firewall.get(ipv4);
  const six = firewall.get(ipv6);
  if ((four === undefined) === (six === undefined)) return null;
  const bytes = four ?? six!;
  if (bytes.length !== (four ? IPV4_SIZE : ADDRESS_SIZE)) return null;
  const address = four ? four.join(".") : addressFromBytes(bytes);
  return UNSPECIFIED.includes(address) ? null : address;
}

function addressItem(address: string, ipv4: number, ipv6: number): Item {
  const bytes = addressToBytes(address);
  if (!bytes) {
    throw new UsageError(`the address must be one of a host, got "${address}"`);
  }
  return isIpv4(addressFromBytes(bytes))
    ? [ipv4, bytes.subarray(IPV4_AT)]
    : [ipv6, bytes];
}

function uint(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = size - 1; at >= 0; at--) {
    bytes[at] = value & 0xff;
    value = Math.floor(value / 256);
  }
  return bytes;
}

// Past 2^53 the value is rounded; it is far from any clock all the same.
function readUint(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}
