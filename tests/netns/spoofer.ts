/**
 * Sends a datagram to a port from each of so many forged addresses, from
 * 10.128.0.0 on: `spoofer.ts TARGET PORT COUNT`. Prints how long it took, ms.
 */

import process from "node:process";
import { AF_INET, socketAddress } from "../../lib/values/address.ts";
import { addressToBytes } from "../../lib/values/address.ts";
import { runtime } from "../fakes/runtime.ts";

const SOCK_RAW = 3;
/** The packet comes with its IP header (raw(7)). */
const IPPROTO_RAW = 255;
const UDP = 17;
const SIZE = 29;
const FIRST_SOURCE = 0x0a80_0000;

const [target = "", port = "", count = ""] = process.argv.slice(2);
const libc = await runtime.openLibrary("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sendto: {
    parameters: ["i32", "buffer", "u32", "i32", "buffer", "u32"],
    result: "i32",
  },
});
const socket = libc!.call("socket", AF_INET, SOCK_RAW, IPPROTO_RAW);
const to = socketAddress(target, 0);
const packet = new Uint8Array(SIZE);
const view = new DataView(packet.buffer);
packet[0] = 0x45; // version 4, a header of 20 bytes; the kernel sums it up
view.setUint16(2, SIZE);
packet[8] = 64;
packet[9] = UDP;
packet.set(addressToBytes(target)!.subarray(12), 16);
view.setUint16(20, 40_000);
view.setUint16(22, Number(port));
view.setUint16(24, SIZE - 20); // without a checksum, which UDP allows

const startMs = runtime.monotonicMs();
for (let i = 0; i < Number(count); i++) {
  view.setUint32(12, FIRST_SOURCE + i);
  libc!.call("sendto", socket, packet, SIZE, 0, to, to.length);
}
runtime.out(`${Math.round(runtime.monotonicMs() - startMs)}\n`);
