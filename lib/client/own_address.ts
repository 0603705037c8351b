/** Which of this machine's own addresses a server most likely sees. Pure. */

import {
  addressToBytes,
  isIpv4,
  parsePrefix,
  prefixContains,
} from "../values/address.ts";

/** Addresses that mean nothing outside of a network, or of a machine. */
const PRIVATE = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "127.0.0.0/8",
  "fc00::/7",
  "fe80::/10",
  "::1",
].map((text) => parsePrefix(text)!);

/** Whether an address is of a private network, or of the machine itself. */
export function isPrivate(address: string): boolean {
  return PRIVATE.some((prefix) => prefixContains(prefix, address));
}

/**
 * The own address with the most bits in common with a server's (RFC 6724 §5,
 * rule 8), of the same family; null where there is none. A server on this very
 * machine sees its own address.
 */
export function nearestAddress(
  own: readonly string[],
  server: string,
): string | null {
  if (own.includes(server) || isLoopback(server)) return server;
  let best: string | null = null;
  let most = -1;
  for (const address of own) {
    if (isIpv4(address) !== isIpv4(server)) continue;
    const common = commonBits(address, server);
    if (common > most) [best, most] = [address, common];
  }
  return best;
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

function commonBits(a: string, b: string): number {
  const left = addressToBytes(a)!;
  const right = addressToBytes(b)!;
  const at = left.findIndex((byte, index) => byte !== right[index]);
  if (at < 0) return left.length * 8;
  return at * 8 + Math.clz32(left[at]! ^ right[at]!) - 24;
}
