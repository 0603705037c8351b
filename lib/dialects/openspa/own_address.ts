/** Which of this machine's own addresses a server most likely sees. Pure. */

import { addressToBytes, isIpv4, isLoopback } from "../../values/address.ts";

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

function commonBits(a: string, b: string): number {
  const left = addressToBytes(a)!;
  const right = addressToBytes(b)!;
  const at = left.findIndex((byte, index) => byte !== right[index]);
  if (at < 0) return left.length * 8;
  return at * 8 + Math.clz32(left[at]! ^ right[at]!) - 24;
}
