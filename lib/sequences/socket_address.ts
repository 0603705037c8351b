/** Addresses as Linux's system calls take them. Pure. */

import { addressToBytes, isIpv4 } from "../values/address.ts";

/** Address families and kinds of sockets, from linux/socket.h. */
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;

/** sockaddr_in is 16 bytes, sockaddr_in6 is 28; both on little-endian machines. */
const SIZE4 = 16;
const SIZE6 = 28;

/** A struct sockaddr_in or sockaddr_in6 for a canonical address. */
export function socketAddress(
  address: string,
  port: number,
): Uint8Array<ArrayBuffer> {
  const four = isIpv4(address);
  const bytes = new Uint8Array(four ? SIZE4 : SIZE6);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, four ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  const all = addressToBytes(address)!;
  bytes.set(four ? all.subarray(12) : all, four ? 4 : 8);
  return bytes;
}
