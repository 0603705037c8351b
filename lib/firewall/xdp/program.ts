/**
 * The program that drops junk at an interface, before the kernel makes a packet
 * of the frame. It drops only what cannot be a knock to this machine, and passes
 * all it is not sure of: nft stays behind it. Pure.
 *
 * Offsets stay constant on every path: with a variable one, as of IPv4 options,
 * the kernel's verifier would want CAP_PERFMON.
 * @module
 */

import { PROTOCOL_NUMBERS } from "../../values/ports.ts";
import { JUNK_COUNTERS, TAGGED_SIZE } from "../nft/rules/prefilter.ts";
import {
  add,
  and,
  assemble,
  call,
  exit,
  jump,
  jumpIf,
  jumpIfRegister,
  type Line,
  load,
  mapPointer,
  move,
  type Register,
  set,
  store,
  storeValue,
  swap16,
} from "./assembler.ts";

/** Ports, and the file descriptors of the maps. */
interface FilterSetting {
  /** UDP ports at which only knock/1 is spoken. */
  readonly ports: readonly number[];
  /** Hash: 8 bytes of a tag -> {@linkcode TAG_KINDS}, 4 bytes. */
  readonly tags: number;
  /** Hash: 16 bytes of an address of this machine, IPv4 mapped -> 4 bytes. */
  readonly addresses: number;
  /** Array per CPU: place in {@linkcode REASONS}, 4 bytes -> frames dropped, 8 bytes. */
  readonly counters: number;
}

/** Form of the packets that begin with a tag. */
export const TAG_KINDS = { knock: 1, web: 2 } as const;

/** Reasons for a drop, in the order of their counters; named as nft's. */
export const REASONS = JUNK_COUNTERS;

/** Verdicts of XDP. linux/bpf.h. */
export const VERDICTS = { drop: 1, pass: 2 } as const;

// Registers: those that outlive a call.
/** Frame, moved on by 4 bytes for each VLAN tag. */
const FRAME = 6;
const UDP = 7;
/** Bytes that IP carries; all ones in a first fragment, which does not say. */
const CARRIED = 8;
/** First byte behind the frame. */
const END = 9;
const STACK = 10;

/** Offsets in struct xdp_md: where the frame begins and ends. */
const MD_DATA = 0;
const MD_END = 4;

const MAP_LOOKUP = 1;
const ETHERNET_SIZE = 14;
const VLAN_SIZE = 4;
const UDP_SIZE = 8;
const IPV4_SIZE = 20;
const IPV6_SIZE = 40;
/** Version 4, 5 words of header: no options. */
const PLAIN_IPV4 = 0x45;
const LATER = 0x1fff;
const MORE_FRAGMENTS = 0x2000;

// Places on the stack.
const ADDRESS_AT = -16;
const TAG_AT = -24;
const REASON_AT = -28;

/** Bytes from the UDP header to the end of a browser's tag: STUN 20, USERNAME 4. RFC 8489. */
const WEB_TAG_AT = UDP_SIZE + 24;
export const TAG_SIZE = 8;
/** Magic cookie of STUN, 21 12 a4 42, as a little-endian machine loads it. */
const COOKIE = 0x42a41221;

export function filterProgram(
  { ports, tags, addresses, counters }: FilterSetting,
): Uint8Array<ArrayBuffer> {
  return assemble([
    load(4, END, 1, MD_END),
    load(4, FRAME, 1, MD_DATA),
    ...ethernet(),
    ...ipv4(),
    ...ipv6(),
    { label: "datagram" },
    ...toThisMachine(ports, addresses),
    ...browsersCheck(tags),
    { label: "knock" },
    ...knock(tags),
    { label: "pass" },
    set(0, VERDICTS.pass),
    exit,
    ...REASONS.flatMap((reason, index) => [
      { label: reason },
      set(3, index),
      jump("drop"),
    ]),
    { label: "drop" },
    ...drop(counters),
  ]);
}

/** The type of what the frame carries, behind at most two VLAN tags. */
function ethernet(): Line[] {
  const tag = (name: string): Line[] => [
    jumpIf(3, "==", swapped(0x8100), name),
    jumpIf(3, "!=", swapped(0x88a8), "network"),
    { label: name },
    add(FRAME, VLAN_SIZE),
    ...unless(FRAME, ETHERNET_SIZE, "pass"),
    load(2, 3, FRAME, 12),
  ];
  return [
    ...unless(FRAME, ETHERNET_SIZE, "pass"),
    load(2, 3, FRAME, 12),
    ...tag("outer tag"),
    ...tag("inner tag"),
    { label: "network" },
    jumpIf(3, "==", swapped(0x0800), "ipv4"),
    jumpIf(3, "==", swapped(0x86dd), "ipv6"),
    jump("pass"),
  ];
}

/** UDP in IPv4 without options, but no later fragment. RFC 791 §3.1. */
function ipv4(): Line[] {
  const at = ETHERNET_SIZE;
  return [
    { label: "ipv4" },
    ...unless(FRAME, at + IPV4_SIZE + UDP_SIZE, "pass"),
    load(1, 3, FRAME, at),
    jumpIf(3, "!=", PLAIN_IPV4, "pass"),
    load(1, 3, FRAME, at + 9),
    jumpIf(3, "!=", PROTOCOL_NUMBERS.udp, "pass"),
    load(2, 4, FRAME, at + 6),
    move(3, 4),
    and(3, swapped(LATER)),
    jumpIf(3, "!=", 0, "pass"),
    load(2, CARRIED, FRAME, at + 2),
    swap16(CARRIED),
    // Less than a header is refused by the kernel: no need to look for it.
    add(CARRIED, -IPV4_SIZE),
    and(4, swapped(MORE_FRAGMENTS)),
    jumpIf(4, "==", 0, "whole"),
    set(CARRIED, -1),
    { label: "whole" },
    storeValue(4, STACK, ADDRESS_AT, 0),
    storeValue(4, STACK, ADDRESS_AT + 4, 0),
    storeValue(4, STACK, ADDRESS_AT + 8, 0xffff0000),
    load(4, 3, FRAME, at + 16),
    store(4, STACK, ADDRESS_AT + 12, 3),
    move(UDP, FRAME),
    add(UDP, at + IPV4_SIZE),
    jump("datagram"),
  ];
}

/** UDP in IPv6 without extension headers. RFC 8200 §3. */
function ipv6(): Line[] {
  const at = ETHERNET_SIZE;
  return [
    { label: "ipv6" },
    ...unless(FRAME, at + IPV6_SIZE + UDP_SIZE, "pass"),
    load(1, 3, FRAME, at + 6),
    jumpIf(3, "!=", PROTOCOL_NUMBERS.udp, "pass"),
    load(2, CARRIED, FRAME, at + 4),
    swap16(CARRIED),
    ...[0, 4, 8, 12].flatMap((part) => [
      load(4, 3, FRAME, at + 24 + part),
      store(4, STACK, ADDRESS_AT + part, 3),
    ]),
    move(UDP, FRAME),
    add(UDP, at + IPV6_SIZE),
  ];
}

/** Passes what is to other ports or other hosts. */
function toThisMachine(ports: readonly number[], addresses: number): Line[] {
  return [
    load(2, 3, UDP, 2),
    ...[...new Set(ports)].map((port) =>
      jumpIf(3, "==", swapped(port), "our port")
    ),
    jump("pass"),
    { label: "our port" },
    ...lookUp(addresses, ADDRESS_AT),
    jumpIf(0, "==", 0, "pass"),
  ];
}

/** Passes a browser's connectivity check with a tag of a browser's knock. */
function browsersCheck(tags: number): Line[] {
  const at = UDP_SIZE;
  return [
    ...unless(UDP, WEB_TAG_AT + TAG_SIZE, "knock"),
    load(2, 3, UDP, at),
    jumpIf(3, "!=", swapped(0x0001), "knock"), // a binding request
    load(4, 3, UDP, at + 4),
    jumpIf(3, "!=", COOKIE, "knock"),
    load(2, 3, UDP, at + 20),
    jumpIf(3, "!=", swapped(0x0006), "knock"), // USERNAME
    ...lookUpTag(tags, WEB_TAG_AT),
    jumpIf(0, "==", 0, "knock"),
    load(4, 0, 0, 0),
    jumpIf(0, "==", TAG_KINDS.web, "pass"),
  ];
}

/** Passes what has the length of a knock and a tag; goes on to the reason else. */
function knock(tags: number): Line[] {
  return [
    load(2, 3, UDP, 4),
    jumpIf(3, "!=", swapped(TAGGED_SIZE), "wrong_length"),
    // The kernel refuses a datagram that is longer than what IP carries.
    jumpIf(CARRIED, "<", TAGGED_SIZE, "wrong_length"),
    ...unless(UDP, UDP_SIZE + TAG_SIZE, "pass"),
    ...lookUpTag(tags, UDP_SIZE),
    jumpIf(0, "==", 0, "wrong_tag"),
    load(4, 0, 0, 0),
    jumpIf(0, "!=", TAG_KINDS.knock, "wrong_tag"),
  ];
}

/** Counts the reason in register 3, and drops the frame. */
function drop(counters: number): Line[] {
  return [
    store(4, STACK, REASON_AT, 3),
    ...lookUp(counters, REASON_AT),
    jumpIf(0, "==", 0, "uncounted"),
    load(8, 3, 0, 0),
    add(3, 1),
    store(8, 0, 0, 3),
    { label: "uncounted" },
    set(0, VERDICTS.drop),
    exit,
  ];
}

/** Goes on at a label unless the frame has so many bytes from a register on. */
function unless(register: Register, size: number, label: string): Line[] {
  return [
    move(2, register),
    add(2, size),
    jumpIfRegister(2, ">", END, label),
  ];
}

function lookUpTag(map: number, at: number): Line[] {
  return [
    load(8, 3, UDP, at),
    store(8, STACK, TAG_AT, 3),
    ...lookUp(map, TAG_AT),
  ];
}

/** Sets register 0 to where the map has the value of a key on the stack, or to 0. */
function lookUp(map: number, keyAt: number): Line[] {
  return [
    mapPointer(1, map),
    move(2, STACK),
    add(2, keyAt),
    call(MAP_LOOKUP),
  ];
}

/** A number of 16 bits in network order, as a little-endian machine loads it. */
function swapped(value: number): number {
  return (value & 0xff) << 8 | value >> 8;
}
