/** Ethernet frames with UDP, right or wrong in any field, and the verdict of a program of XDP. */

import { type Bpf, COMMANDS, inMemory } from "../../lib/firewall/xdp/bpf.ts";
import type { Runtime } from "../../lib/runtime/runtime.ts";
import { addressToBytes } from "../../lib/values/address.ts";
import { concat } from "../../lib/values/bytes.ts";

/** Parts of a frame; what is absent is right. */
export interface Frame {
  /** Destination address, which decides on the version of IP. */
  readonly to: string;
  readonly from?: string;
  readonly port?: number;
  readonly payload: Uint8Array;
  /** Types of VLAN tags, outer first. */
  readonly vlans?: readonly number[];
  readonly etherType?: number;
  /** Source MAC, 6 bytes, and destination MAC. */
  readonly mac?: Uint8Array;
  readonly toMac?: Uint8Array;
  readonly protocol?: number;
  /** First byte of the IP header. */
  readonly first?: number;
  /** Options of IPv4, whole words; extension headers of IPv6, with `protocol` as the first's type. */
  readonly extra?: Uint8Array;
  /** Offset and flags of IPv4. */
  readonly fragment?: number;
  /** Length that IP tells: all of it (4), what it carries (6). */
  readonly ipLength?: number;
  readonly udpLength?: number;
  /** So many bytes of the frame alone are there. */
  readonly cut?: number;
}

const UDP = 17;

/** The bytes of a frame, checksums included; UDP over IPv4 has none. */
export function frameBytes(frame: Frame): Uint8Array {
  const { to, payload, vlans = [], extra = new Uint8Array(), cut } = frame;
  const four = !to.includes(":");
  const udp = udpBytes(frame, four);
  const carried = concat(extra, udp, payload);
  const ip = four
    ? ipv4Header(frame, extra, udp.length + payload.length)
    : ipv6Header(frame, carried.length);
  const etherType = frame.etherType ?? (four ? 0x0800 : 0x86dd);
  const types = [...vlans, etherType];
  const ethernet = concat(
    frame.toMac ?? Uint8Array.fromHex("020000000001"),
    frame.mac ?? Uint8Array.fromHex("020000000002"),
    ...types.map((type, index) =>
      index === 0 ? word16(type) : concat(word16(7), word16(type))
    ),
  );
  const all = concat(ethernet, ip, carried);
  return cut === undefined ? all : all.subarray(0, cut);
}

function udpBytes(
  { to, from, port = 62201, payload, udpLength, extra }: Frame,
  four: boolean,
) {
  const length = udpLength ?? 8 + payload.length;
  const bytes = concat(word16(40000), word16(port), word16(length), word16(0));
  if (four || extra) return bytes;
  const pseudo = concat(
    addressToBytes(from ?? "fd77::2")!,
    addressToBytes(to)!,
    word16(0),
    word16(length),
    word16(0),
    word16(UDP),
  );
  const sum = checksum(concat(pseudo, bytes, payload));
  bytes.set(word16(sum === 0 ? 0xffff : sum), 6);
  return bytes;
}

function ipv4Header(
  { to, from = "10.77.0.2", protocol = UDP, first, fragment = 0, ipLength }:
    Frame,
  options: Uint8Array,
  carried: number,
): Uint8Array {
  const size = 20 + options.length;
  const header = concat(
    Uint8Array.of(first ?? 0x40 | size / 4, 0),
    word16(ipLength ?? size + carried),
    word16(0x1234),
    word16(fragment),
    Uint8Array.of(64, protocol, 0, 0),
    addressToBytes(from)!.subarray(12),
    addressToBytes(to)!.subarray(12),
    options,
  );
  header.set(word16(checksum(header)), 10);
  return header.subarray(0, 20);
}

function ipv6Header(
  { to, from = "fd77::2", protocol = UDP, first = 0x60, ipLength }: Frame,
  carried: number,
): Uint8Array {
  return concat(
    Uint8Array.of(first, 0, 0, 0),
    word16(ipLength ?? carried),
    Uint8Array.of(protocol, 64),
    addressToBytes(from)!,
    addressToBytes(to)!,
  );
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at]! << 8 | (bytes[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function word16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8 & 0xff, value & 0xff);
}

/** Runs a program of XDP on a frame: its verdict. Times a run in nanoseconds where `repeat` is more than 1. */
export function runOn(
  bpf: Bpf,
  program: number,
  frame: Uint8Array,
  repeat = 1,
): { readonly verdict: number; readonly ns: number } {
  const { attributes } = bpf.command(
    "run the program",
    COMMANDS.programTestRun,
    [program, 0, frame.length, 0, inMemory(frame), 0n, repeat, 0],
  );
  return {
    verdict: attributes.getUint32(4, true),
    ns: attributes.getUint32(36, true),
  };
}

/** Live frames: with them the kernel does what the verdict says. linux/bpf.h. */
const LIVE_FRAMES = 1 << 1;

/**
 * Has the kernel make copies of a frame and hand them to a program as if they
 * came in by an interface, by its index. What the program passes, the machine
 * receives; what it sends back (XDP_TX), leaves by that interface.
 */
export function makeFrames(
  bpf: Bpf,
  program: number,
  frame: Uint8Array,
  { index, count = 1, batch = 0 }: {
    readonly index: number;
    readonly count?: number;
    readonly batch?: number;
  },
): void {
  const context = new Uint32Array([0, frame.length, 0, index, 0, 0]);
  const bytes = inMemory(new Uint8Array(context.buffer));
  bpf.command("make frames", COMMANDS.programTestRun, [
    ...[program, 0, frame.length, 0, inMemory(frame), 0n, count, 0],
    ...[bytes.length, 0, bytes, 0n, LIVE_FRAMES, 0, batch],
  ]);
}

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_SGRO = 0x2c;

/**
 * Has eth0 receive frames as a driver does, by generic receive offload: the end
 * of a cable without a program of its own takes no frames of XDP otherwise.
 */
export async function receiveAsDriver(runtime: Runtime): Promise<void> {
  const libc = await runtime.openLibrary("libc.so.6", {
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    ioctl: { parameters: ["i32", "u32", "buffer"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  });
  if (!libc) throw new Error("cannot load libc.so.6");
  const value = inMemory(
    new Uint8Array(new Uint32Array([ETHTOOL_SGRO, 1]).buffer),
  );
  const request = inMemory(new Uint8Array(40));
  request.set(new TextEncoder().encode("eth0"));
  new DataView(request.buffer).setBigUint64(16, libc.addressOf(value), true);
  const socket = libc.call("socket", AF_INET, SOCK_DGRAM, 0);
  const failed = libc.call("ioctl", socket, SIOCETHTOOL, request) as number;
  libc.call("close", socket);
  if (failed || value[4] !== 1) throw new Error("no receive offload at eth0");
}
