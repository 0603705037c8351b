/** Frames to a machine with the addresses of tests/netns, and the verdict of XDP's program on each. */

import { webTagText } from "../../lib/dialects/knock1/web/form.ts";
import type { REASONS } from "../../lib/firewall/xdp/program.ts";
import { concat } from "../../lib/values/bytes.ts";
import { CLIENTS, SERVER } from "../netns/netns.ts";
import { type Frame, frameBytes } from "./frames.ts";

/** Tags that a knock may begin with. */
export const TAG = Uint8Array.fromHex("00112233445566ff");
export const NEXT = Uint8Array.fromHex("f0e1d2c3b4a59687");
const WRONG = Uint8Array.fromHex("00112233445566fe");
/** The first of them in a browser's knock. */
export const WEB_TAG = new TextEncoder().encode(webTagText(TAG));

/** A datagram of so many bytes that begins with these. */
export function begin(start: Uint8Array, size = 216): Uint8Array {
  const bytes = new Uint8Array(size).fill(0xa5);
  bytes.set(start.subarray(0, size));
  return bytes;
}

/** A browser's check with these bytes as its type, cookie, attribute and tag. */
function check(
  tag: Uint8Array,
  { type = "0001", cookie = "2112a442", attribute = "0006" } = {},
): Uint8Array {
  return concat(
    Uint8Array.fromHex(`${type}0148${cookie}${"5a".repeat(12)}`),
    Uint8Array.fromHex(`${attribute}0104`),
    begin(tag, 260),
  );
}

/** Verdict on a frame: a reason is a drop. */
export type Verdict = "pass" | (typeof REASONS)[number];

const right = begin(TAG);
const wrong = begin(WRONG);
const HOP_BY_HOP = Uint8Array.fromHex("1100050200000000");
const FRAGMENT = Uint8Array.fromHex("1100000112345678");

/** Frames to this machine, for both versions of IP: `to` is left out. */
const BOTH: readonly [name: string, frame: Omit<Frame, "to">, Verdict][] = [
  ["a knock", { payload: right }, "pass"],
  ["a knock of the next window", { payload: begin(NEXT) }, "pass"],
  ["another tag", { payload: wrong }, "wrong_tag"],
  ["a browser's tag in a knock", { payload: begin(WEB_TAG) }, "wrong_tag"],
  ["a byte too few", { payload: begin(TAG, 215) }, "wrong_length"],
  ["a byte too many", { payload: begin(TAG, 217) }, "wrong_length"],
  ["nothing", { payload: begin(TAG, 0) }, "wrong_length"],
  ["the tag alone", { payload: TAG }, "wrong_length"],
  ["a large one", { payload: begin(TAG, 1400) }, "wrong_length"],
  ["a browser's check", { payload: check(WEB_TAG) }, "pass"],
  ["a check with another tag", { payload: check(TAG) }, "wrong_length"],
  ["a check of another type", {
    payload: check(WEB_TAG, { type: "0101" }),
  }, "wrong_length"],
  ["a check with another cookie", {
    payload: check(WEB_TAG, { cookie: "2112a443" }),
  }, "wrong_length"],
  ["a check with another attribute", {
    payload: check(WEB_TAG, { attribute: "0008" }),
  }, "wrong_length"],
  ["a check cut off in its tag", {
    payload: check(WEB_TAG).subarray(0, 31),
  }, "wrong_length"],
  ["another port", { payload: wrong, port: 5353 }, "pass"],
  ["the port turned around", { payload: wrong, port: 0xf9f2 }, "pass"],
  ["another of our ports", { payload: wrong, port: 53 }, "wrong_tag"],
  ["TCP", { payload: wrong, protocol: 6 }, "pass"],
  ["ICMP", { payload: wrong, protocol: 1 }, "pass"],
  ["ARP", { payload: wrong, etherType: 0x0806 }, "pass"],
  ["a VLAN tag", { payload: wrong, vlans: [0x8100] }, "wrong_tag"],
  ["two VLAN tags", { payload: wrong, vlans: [0x88a8, 0x8100] }, "wrong_tag"],
  ["a knock with a VLAN tag", { payload: right, vlans: [0x8100] }, "pass"],
  ["a knock with two", { payload: right, vlans: [0x88a8, 0x8100] }, "pass"],
  ["three VLAN tags", {
    payload: wrong,
    vlans: [0x88a8, 0x8100, 0x8100],
  }, "pass"],
  ["UDP that tells too little", {
    payload: right,
    udpLength: 223,
  }, "wrong_length"],
  ["UDP that tells too much", {
    payload: begin(TAG, 100),
    udpLength: 224,
  }, "wrong_length"],
  ["UDP of a knock's length in a longer packet", {
    payload: begin(TAG, 300),
    udpLength: 224,
  }, "pass"],
  ["the same with another tag", {
    payload: begin(WRONG, 300),
    udpLength: 224,
  }, "wrong_tag"],
];

/** Frames with what only one version of IP has. */
const SINGLE: readonly [name: string, frame: Frame, Verdict][] = [
  ["IPv4 to another host", { to: "10.78.0.2", payload: wrong }, "pass"],
  ["IPv4 to the network's broadcast", {
    to: "10.77.0.255",
    payload: wrong,
  }, "pass"],
  ["IPv6 to another host", { to: "fd78::2", payload: wrong }, "pass"],
  ["IPv6 to the neighbour of our address", {
    to: "fd77::1:1",
    payload: wrong,
  }, "pass"],
  ["IPv4 options", {
    to: SERVER[4],
    payload: wrong,
    extra: Uint8Array.fromHex("94040000"),
  }, "pass"],
  ["IPv4 with a header that is too short", {
    to: SERVER[4],
    payload: wrong,
    first: 0x44,
  }, "pass"],
  ["IPv4 that tells to be IPv6", {
    to: SERVER[4],
    payload: wrong,
    first: 0x65,
  }, "pass"],
  ["IPv4 that tells too little", {
    to: SERVER[4],
    payload: right,
    ipLength: 243,
  }, "wrong_length"],
  ["IPv4 that tells more than there is", {
    to: SERVER[4],
    payload: right,
    ipLength: 1000,
  }, "pass"],
  ["IPv4 that may not be fragmented", {
    to: SERVER[4],
    payload: wrong,
    fragment: 0x4000,
  }, "wrong_tag"],
  ["a first fragment", {
    to: SERVER[4],
    payload: wrong,
    fragment: 0x2000,
  }, "wrong_tag"],
  ["a first fragment of a long datagram", {
    to: SERVER[4],
    payload: begin(TAG, 1400),
    udpLength: 4008,
    fragment: 0x2000,
  }, "wrong_length"],
  ["a first fragment of a knock", {
    to: SERVER[4],
    payload: begin(TAG, 96),
    udpLength: 224,
    fragment: 0x2000,
  }, "pass"],
  ["a first fragment without the tag", {
    to: SERVER[4],
    payload: begin(WRONG, 0),
    udpLength: 224,
    fragment: 0x2000,
  }, "pass"],
  ["a later fragment", {
    to: SERVER[4],
    payload: wrong,
    fragment: 0x2001,
  }, "pass"],
  ["the last fragment", {
    to: SERVER[4],
    payload: wrong,
    fragment: 0x1000,
  }, "pass"],
  ["IPv6 with hop-by-hop options", {
    to: SERVER[6],
    payload: wrong,
    protocol: 0,
    extra: HOP_BY_HOP,
  }, "pass"],
  ["IPv6 with a fragment header", {
    to: SERVER[6],
    payload: wrong,
    protocol: 44,
    extra: FRAGMENT,
  }, "pass"],
  ["IPv6 with a routing header", {
    to: SERVER[6],
    payload: wrong,
    protocol: 43,
    extra: HOP_BY_HOP,
  }, "pass"],
  ["IPv6 with destination options", {
    to: SERVER[6],
    payload: wrong,
    protocol: 60,
    extra: HOP_BY_HOP,
  }, "pass"],
  ["IPv6 that tells too little", {
    to: SERVER[6],
    payload: right,
    ipLength: 223,
  }, "wrong_length"],
];

/** Frames that end within a header: no sizes but these are unsure. */
const CUTS: readonly [to: string, size: number, Verdict][] = [
  [SERVER[4], 14, "pass"],
  [SERVER[4], 33, "pass"],
  [SERVER[4], 41, "pass"],
  [SERVER[4], 42, "pass"],
  [SERVER[4], 49, "pass"],
  [SERVER[4], 50, "wrong_tag"],
  [SERVER[6], 14, "pass"],
  [SERVER[6], 53, "pass"],
  [SERVER[6], 61, "pass"],
  [SERVER[6], 69, "pass"],
  [SERVER[6], 70, "wrong_tag"],
];

/** All of them: name, bytes, verdict. */
export const FRAMES: readonly (readonly [string, Uint8Array, Verdict])[] = [
  ...([4, 6] as const).flatMap((family) =>
    BOTH.map(([name, frame, want]) =>
      [
        `${name}, IPv${family}`,
        { ...frame, to: SERVER[family], from: CLIENTS[family][0] },
        want,
      ] as const
    )
  ),
  ...SINGLE,
  ...CUTS.map(([to, cut, want]) =>
    [
      `${cut} bytes of a frame to ${to}`,
      { to, payload: wrong, cut },
      want,
    ] as const
  ),
].map(([name, frame, want]) => [name, frameBytes(frame), want]);

/** The ports and addresses that they are judged by. */
export const PORTS = [53, 62201];
export const OWN = [SERVER[4], SERVER[6], "127.0.0.1", "::1"];
