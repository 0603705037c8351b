/** IP addresses, prefixes and endpoints, in text, in 16 bytes, and as C has them. */

/** Bytes of an address on the wire: IPv6, or IPv4 in ::ffff:0:0/96. */
export const ADDRESS_SIZE = 16;

/** A name or address with a port. */
export interface Endpoint {
  /** An address in canonical text, or a name. */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
}

/** A network such as `192.0.2.0/24`. A bare address is a network of one. */
export interface Prefix {
  /** 16 bytes; IPv4 is mapped. */
  readonly bytes: Uint8Array;
  /** Bits that count, of 128: an IPv4 /24 is 120. */
  readonly bits: number;
}

/** Four decimal bytes without leading zeros. */
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
/** One to four hexadecimal digits: 16 bits. */
const GROUP = /^[0-9a-f]{1,4}$/i;
const GROUPS = 8;

/** Bits of the prefix that IPv4 is mapped into: a shorter prefix is one of IPv6. */
const MAPPED_BITS = 96;
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/**
 * Reads an address and returns it as canonical text (RFC 5952): IPv4 mapped
 * into IPv6 becomes IPv4, a zone (`%eth0`) is dropped. Null if it is none.
 */
export function parseAddress(text: string): string | null {
  const bytes = addressToBytes(text);
  return bytes && addressFromBytes(bytes);
}

/** The canonical address that the system's text stands for; other text as it is. */
export function bareAddress(text: string): string {
  // Nearly every IPv4 packet comes this way: no parsing for it.
  if (text.startsWith("::ffff:") && text.includes(".")) return text.slice(7);
  return parseAddress(text) ?? text;
}

/** True if a canonical address is IPv4. */
export function isIpv4(address: string): boolean {
  return !address.includes(":");
}

/** The 16 bytes of an address in text; null if it is none. */
export function addressToBytes(text: string): Uint8Array | null {
  if (IPV4.test(text)) {
    const bytes = new Uint8Array(ADDRESS_SIZE);
    bytes.set(MAPPED);
    bytes.set(text.split(".").map(Number), 12);
    return bytes;
  }
  const percent = text.indexOf("%");
  return ipv6ToBytes(percent < 0 ? text : text.slice(0, percent));
}

/** Canonical text of 16 bytes; IPv4 in ::ffff:0:0/96 becomes IPv4. */
export function addressFromBytes(bytes: Uint8Array): string {
  if (MAPPED.every((byte, index) => bytes[index] === byte)) {
    return bytes.subarray(12, 16).join(".");
  }
  const groups: number[] = [];
  for (let i = 0; i < ADDRESS_SIZE; i += 2) {
    groups.push(bytes[i]! << 8 | bytes[i + 1]!);
  }
  // RFC 5952 §4.2: the longest run of zero groups, of two or more, is "::".
  let start = -1, length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
    if (run > 0) i += run - 1;
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(":");
  return hex.slice(0, start).join(":") + "::" +
    hex.slice(start + length).join(":");
}

/** Reads `192.0.2.0/24`, `2001:db8::/32` or a bare address; null if none. */
export function parsePrefix(text: string): Prefix | null {
  const [host, bitsText, ...rest] = text.split("/");
  const bytes = rest.length === 0 && host ? addressToBytes(host) : null;
  if (!bytes || host!.includes("%")) return null;
  const offset = IPV4.test(host!) ? 96 : 0;
  if (bitsText === undefined) return { bytes, bits: 128 };
  if (!/^\d{1,3}$/.test(bitsText)) return null;
  const bits = Number(bitsText) + offset;
  return bits <= 128 ? { bytes, bits } : null;
}

/** Writes what {@linkcode parsePrefix} reads; one address without its bits. */
export function formatPrefix({ bytes, bits }: Prefix): string {
  const address = addressFromBytes(bytes);
  if (bits === 128) return address;
  if (!isIpv4(address)) return `${address}/${bits}`;
  return bits >= 96 ? `${address}/${bits - 96}` : `::ffff:${address}/${bits}`;
}

/** The widest networks that a grant may be for, in bits of the family. */
export const WIDEST_NETWORK = { 4: 16, 6: 48 } as const;

/**
 * The network of a canonical address with so many bits, as "192.0.2.0/24"; the
 * address itself where all of its bits count.
 */
export function networkOf(address: string, bits: number): string {
  const bytes = addressToBytes(address)!;
  const all = isIpv4(address) ? bits + MAPPED_BITS : bits;
  const masked = bytes.map((byte, index) =>
    byte & 0xff << Math.min(8, Math.max(0, 8 * (index + 1) - all))
  );
  return formatPrefix({ bytes: masked, bits: all });
}

/** A canonical address, and every network around it that a grant may be for. */
export function networksAround(address: string): string[] {
  const [widest, most] = isIpv4(address)
    ? [WIDEST_NETWORK[4], 32]
    : [WIDEST_NETWORK[6], 128];
  return Array.from(
    { length: most - widest + 1 },
    (_, index) => networkOf(address, most - index),
  );
}

/** True for the canonical text of an address, or of a network with nothing behind its bits. */
export function isCanonical(text: string): boolean {
  if (!text.includes("/")) return parseAddress(text) === text;
  const [address = "", bits] = text.split("/");
  return parsePrefix(text) !== null && parseAddress(address) === address &&
    networkOf(address, Number(bits)) === text;
}

/** A check for addresses of some networks. */
function among(...networks: readonly string[]): (address: string) => boolean {
  const prefixes = networks.map(prefixOf);
  return (address) => prefixes.some((one) => prefixContains(one, address));
}

/** True if an address belongs to no single host. */
const isNoHost = among(
  "0.0.0.0/8", // unspecified, "this network"
  "224.0.0.0/4", // multicast
  "255.255.255.255", // broadcast
  "::", // unspecified
  "ff00::/8", // multicast
  "fe80::/10", // link-local
  "::ffff:0:0:0/96", // IPv4-translated (RFC 2765)
);

/** IPv4-compatible addresses, which are deprecated (RFC 4291 §2.5.5.1). */
const COMPATIBLE = prefixOf("::/96");

/** Networks that carry an IPv4 address, and the byte that it begins at: 6to4, NAT64. */
const CARRIERS = [
  { prefix: prefixOf("2002::/16"), at: 2 },
  { prefix: prefixOf("64:ff9b::/96"), at: 12 },
] as const;

/** True if a canonical address means nothing beyond its link. */
export const isLinkLocal = among("fe80::/10", "169.254.0.0/16");

/**
 * True if a canonical address may be that of one host: not unspecified, not
 * multicast, not the broadcast address, not IPv6 link-local (without its zone it
 * is a host on every link), and no IPv6 form of an IPv4 address that is one of
 * these. Loopback addresses are host addresses.
 */
export function isHostAddress(address: string): boolean {
  const bytes = addressToBytes(address);
  if (!bytes || address.includes("%")) return false;
  if (isNoHost(address)) return false;
  if (isIpv4(address)) return true;
  if (isLoopback(address)) return true;
  if (prefixContains(COMPATIBLE, address)) return false;
  return CARRIERS.every(({ prefix, at }) => {
    if (!prefixContains(prefix, address)) return true;
    const carried = bytes.subarray(at, at + 4).join(".");
    return isHostAddress(carried) && !isLoopback(carried);
  });
}

/** The broadcast address of an IPv4 network; null where it has none. */
export function broadcastOf({ bytes, bits }: Prefix): string | null {
  const address = addressFromBytes(bytes);
  if (!isIpv4(address) || bits < 97 || bits > 126) return null;
  const last = bytes.slice();
  for (let bit = bits; bit < 128; bit++) last[bit >> 3]! |= 0x80 >> (bit & 7);
  return addressFromBytes(last);
}

/** True if a network contains an address. IPv4 addresses are in IPv4 networks only. */
export function prefixContains(prefix: Prefix, address: string): boolean {
  const bytes = addressToBytes(address);
  if (!bytes || isIpv4(address) && prefix.bits < MAPPED_BITS) return false;
  for (let bit = 0; bit < prefix.bits; bit += 8) {
    const mask = 0xff << Math.max(0, 8 - (prefix.bits - bit)) & 0xff;
    const index = bit >> 3;
    if ((bytes[index]! & mask) !== (prefix.bytes[index]! & mask)) return false;
  }
  return true;
}

/** Reads `HOST:PORT`, `[IPV6]:PORT` or, with a default port, `HOST`. */
export function parseEndpoint(
  text: string,
  defaultPort?: number,
): Endpoint | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (!match) {
    // A bare IPv6 address is unambiguous when no port is wanted.
    const address = defaultPort === undefined ? null : parseAddress(text);
    return address ? { host: address, port: defaultPort! } : null;
  }
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port === undefined || port > 65535) return null;
  if (match[1] !== undefined) {
    const isIpv6 = match[1].includes(":");
    const address = isIpv6 ? parseAddress(match[1]) : null;
    return address ? { host: address, port } : null;
  }
  const host = match[2]!;
  if (/^[\d.]+$/.test(host) && !IPV4.test(host)) return null;
  return /^[A-Za-z0-9._-]{1,253}$/.test(host) ? { host, port } : null;
}

/** Writes `HOST:PORT`, with an IPv6 address in brackets. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** RFC 4291 §2.2. node:net knows this too, but a client starts slower with it. */
function ipv6ToBytes(text: string): Uint8Array | null {
  // A dotted tail (::ffff:192.0.2.1) becomes two groups first.
  const dotted = /^(.*:)(\d+\.[\d.]*)$/.exec(text);
  if (dotted) {
    const tail = dotted[2]!;
    if (!IPV4.test(tail)) return null;
    const [a, b, c, d] = tail.split(".").map(Number);
    text = dotted[1]! + (a! << 8 | b!).toString(16) + ":" +
      (c! << 8 | d!).toString(16);
  }
  const [head, tail, ...rest] = text.split("::");
  if (rest.length > 0) return null;
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const count = left.length + right.length;
  if (tail === undefined ? count !== GROUPS : count >= GROUPS) return null;
  if (![...left, ...right].every((group) => GROUP.test(group))) return null;
  const bytes = new Uint8Array(ADDRESS_SIZE);
  const put = (group: string, index: number) => {
    const value = parseInt(group, 16);
    bytes[index * 2] = value >> 8;
    bytes[index * 2 + 1] = value & 0xff;
  };
  left.forEach(put);
  right.forEach((group, index) => put(group, GROUPS - right.length + index));
  return bytes;
}

/** True if an address is of a private network, or of the machine itself. */
export const isPrivate = among(
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "127.0.0.0/8",
  "fc00::/7",
  "fe80::/10",
  "::1",
);

function prefixOf(text: string): Prefix {
  return parsePrefix(text)!;
}

/** True if an address is of the loopback network. */
export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

/** Families of addresses, from linux/socket.h. */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Bytes of a struct sockaddr_in, and of a sockaddr_in6. */
const SOCKADDR_SIZE = 16;
const SOCKADDR6_SIZE = 28;

/** A struct sockaddr_in or sockaddr_in6 for a canonical address, little-endian. */
export function socketAddress(
  address: string,
  port: number,
): Uint8Array<ArrayBuffer> {
  const bytes = addressToBytes(address)!;
  const four = isIpv4(address);
  const name = new Uint8Array(four ? SOCKADDR_SIZE : SOCKADDR6_SIZE);
  const view = new DataView(name.buffer);
  view.setUint16(0, four ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  name.set(four ? bytes.subarray(12) : bytes, four ? 4 : 8);
  return name;
}
