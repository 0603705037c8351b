/** Parsers of what else comes from the network: other packets, captures, answers, requests. */

import {
  readStunAnswer,
  stunRequest,
} from "../../../lib/client/address/stun.ts";
import { decodeIp } from "../../../lib/sequences/packet.ts";
import { PcapReader } from "../../../lib/sequences/pcap.ts";
import { readHttpPacket } from "../../../lib/dialects/http.ts";
import { bytesOf } from "../../fakes/packets.ts";
import { corpus } from "./samples.ts";
import type { Target } from "./target.ts";

const ipv4 = Uint8Array.fromHex(
  "4500003c1234400040060000c0000209c000020164001b580000000100000000a002faf00000000002040564",
);
const ipv6 = Uint8Array.fromHex(
  "6000000000080040" + "20010db8000000000000000000000009" +
    "20010db8000000000000000000000001" + "1100000000000000" +
    "64001f4000080000",
);
function pcap(link: number, frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(40 + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint32(16, 262_144, true);
  view.setUint32(20, link, true);
  view.setUint32(32, frame.length, true);
  view.setUint32(36, frame.length, true);
  bytes.set(frame, 40);
  return bytes;
}
const transaction = bytesOf("transaction").slice(0, 12);
const stun = new Uint8Array(32);
stun.set(stunRequest(transaction));
stun.set([1, 1, 0, 12]);
stun.set([0, 0x20, 0, 8, 0, 1, 1, 2, 3, 4, 5, 6], 20);

/** Input from the network besides packets of a dialect. */
export const TARGETS: readonly Target[] = [
  {
    name: "IP packet",
    seeds: [ipv4, ipv6],
    run: (bytes) => void decodeIp(bytes),
  },
  {
    name: "pcap",
    seeds: [pcap(101, ipv4), pcap(1, ipv4), pcap(113, ipv6), pcap(239, ipv6)],
    run: (bytes) => {
      const reader = new PcapReader();
      reader.feed(bytes.subarray(0, bytes.length >> 1));
      reader.feed(bytes.subarray(bytes.length >> 1));
    },
  },
  {
    name: "STUN answer",
    seeds: [stun],
    run: (bytes) => void readStunAnswer(bytes, transaction),
  },
  {
    name: "HTTP request",
    seeds: corpus("http"),
    run: (bytes) => void readHttpPacket(bytes),
  },
];
