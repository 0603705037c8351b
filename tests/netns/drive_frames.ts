/**
 * Frames inside a pair, by orders. Random ones in the server: judged by the
 * program of XDP, and received by the machine as if they came in by eth0; the
 * answer has the verdict of each, and a frame's source MAC is its number. Or
 * given ones, in the client: they leave by its eth0.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { assemble, exit, set } from "../../lib/firewall/xdp/assembler.ts";
import { Bpf } from "../../lib/firewall/xdp/bpf.ts";
import { Filter } from "../../lib/firewall/xdp/xdp.ts";
import { VERDICTS } from "../../lib/firewall/xdp/program.ts";
import { concat } from "../../lib/values/bytes.ts";
import {
  type Frame,
  frameBytes,
  makeFrames,
  receiveAsDriver,
  runOn,
} from "../fakes/frames.ts";
import { runtime } from "../fakes/runtime.ts";

/** Order: sends these frames, in hexadecimal, one after the other. */
export interface SendFrames {
  readonly send: readonly string[];
}

/** Order: eth0 takes what the other end sends so, without a program, too. */
export interface ReceiveFrames {
  readonly receive: true;
}

/** Order: frames of the numbers `first` to `first + count - 1`. */
export interface FramesOrder {
  readonly seed: number;
  readonly first: number;
  readonly count: number;
  readonly ports: readonly number[];
  readonly addresses: readonly string[];
  readonly others: readonly string[];
  /** In hexadecimal. */
  readonly mac: string;
  readonly tags: readonly string[];
  readonly webTags: readonly string[];
}

/** Outcome: a character a frame. */
export interface FramesAnswer {
  readonly id: number;
  /** "d" drop, "p" pass, "l" drop of a datagram that tells to be longer than its packet. */
  readonly verdicts: string;
}

/** The source MAC of a frame, 6 bytes. */
export function macOf(number: number): Uint8Array {
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 0);
  new DataView(mac.buffer).setUint32(2, number);
  return mac;
}

/** A generator of numbers from 0 to below `limit`: mulberry32. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = state + 0x6d2b79f5 | 0;
    let mixed = Math.imul(state ^ state >>> 15, 1 | state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) % limit;
  };
}

type Draw = (limit: number) => number;

function oneOf<T>(draw: Draw, all: readonly T[]): T {
  return all[draw(all.length)]!;
}

/** A frame that is nearly a knock: each of its parts is right more often than not. */
function drawFrame(order: FramesOrder, draw: Draw, number: number): Uint8Array {
  const { ports, addresses, others, tags, webTags } = order;
  const seldom = <T>(make: () => T): T | undefined =>
    draw(8) === 0 ? make() : undefined;
  const to = oneOf(draw, draw(6) === 0 ? others : addresses);
  const four = !to.includes(":");
  const lengths = [0, 7, 8, 16, 40, 100, 215, 217, 223, 224, 240, 1000];
  const size = draw(3) > 0 ? 216 : oneOf(draw, lengths);
  const payload = new Uint8Array(size).map(() => draw(256));
  const tag = Uint8Array.fromHex(oneOf(draw, [...tags, ...webTags]));
  if (draw(3) > 0) payload.set(tag.subarray(0, size));
  if (draw(6) === 0) payload[draw(8)] = draw(256);
  const isWeb = draw(5) === 0;
  const check = () => {
    const head = `00010148${draw(6) ? "2112a442" : "2112a443"}`;
    const attribute = `${draw(6) ? "0006" : "0008"}0104`;
    return concat(
      Uint8Array.fromHex(head + "5a".repeat(12) + attribute),
      draw(4)
        ? Uint8Array.fromHex(oneOf(draw, draw(6) ? webTags : tags))
        : payload.subarray(0, 8),
      new Uint8Array(draw(300)),
    );
  };
  const vlans = seldom(() =>
    oneOf(draw, [[0x8100], [0x88a8, 0x8100], [0x8100, 0x8100, 0x8100]])
  );
  const extra = seldom(() => new Uint8Array(four ? 4 + 4 * draw(10) : 8));
  const protocol = extra && !four
    ? oneOf(draw, [0, 43, 44, 60])
    : seldom(() => oneOf(draw, [1, 6, 17, 47]));
  const fragment = seldom(() =>
    oneOf(draw, [0x2000, 0x4000, 1, 0x2001, 0x1fff])
  );
  const udpLength = seldom(() => oneOf(draw, [0, 8, 223, 224, 225, 65535]));
  const ipLength = seldom(() =>
    oneOf(draw, [0, 19, 20, 28, 100, 223, 224, 243, 244, 300])
  );
  const etherType = seldom(() => oneOf(draw, [0x0806, 0x0800, 0x86dd]));
  const first = seldom(() => oneOf(draw, [0x44, 0x46, 0x65, 0x60, 0x45]));
  const frame: Frame = {
    to,
    toMac: Uint8Array.fromHex(order.mac),
    mac: macOf(number),
    port: draw(8) === 0 ? draw(65536) : oneOf(draw, ports),
    payload: isWeb ? check() : payload,
    ...(vlans && { vlans }),
    ...(extra && { extra }),
    ...(protocol !== undefined && { protocol }),
    ...(fragment !== undefined && four && { fragment }),
    ...(udpLength !== undefined && { udpLength }),
    ...(ipLength !== undefined && { ipLength }),
    ...(etherType !== undefined && { etherType }),
    ...(first !== undefined && { first }),
  };
  const bytes = frameBytes(frame).slice();
  // Anything but the addresses of the cable.
  if (draw(4) === 0) {
    bytes[12 + draw(Math.min(70, bytes.length - 12))] = draw(256);
  }
  return draw(10) === 0 ? bytes.subarray(0, 14 + draw(80)) : bytes;
}

/** True if the kernel's UDP refuses it: its length is more than IP carries. */
function isTooLong(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  let at = 12;
  for (let tags = 0; tags < 2; tags++) {
    if ([0x8100, 0x88a8].includes(view.getUint16(at))) at += 4;
  }
  const ip = at + 2;
  if (view.getUint16(at) === 0x0800) {
    const isFragment = (view.getUint16(ip + 6) & 0x3fff) !== 0;
    const carried = view.getUint16(ip + 2) - 20;
    return !isFragment && view.getUint16(ip + 24) > carried;
  }
  return view.getUint16(ip + 44) > view.getUint16(ip + 4);
}

/** Sends a frame back by the interface that it came in by. linux/bpf.h. */
const XDP_TX = 3;

type Order = FramesOrder | SendFrames | ReceiveFrames;

if (import.meta.main) {
  const bpf = await Bpf.open(runtime);
  const filter = new Filter(bpf);
  const load = (verdict: number) => bpf.load(assemble([set(0, verdict), exit]));
  const [pass, back] = [load(VERDICTS.pass), load(XDP_TX)];
  const index = bpf.indexOf("eth0");

  /** Verdict on a frame, a character; the machine receives it in any case. */
  const judge = (frame: Uint8Array): string => {
    const { verdict } = runOn(bpf, filter.program, frame);
    makeFrames(bpf, pass, frame, { index });
    if (verdict === VERDICTS.pass) return "p";
    return isTooLong(frame) ? "l" : "d";
  };
  const judgeAll = (order: FramesOrder): string => {
    const read = (tags: readonly string[]) =>
      tags.map((tag) => Uint8Array.fromHex(tag));
    const [tags, webTags] = [read(order.tags), read(order.webTags)];
    filter.set({ ports: order.ports, tags, webTags }, order.addresses);
    return Array.from({ length: order.count }, (_, at) => {
      const number = order.first + at;
      const draw = random(order.seed * 0x10000 + number);
      return judge(drawFrame(order, draw, number));
    }).join("");
  };

  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as Order & { id: number };
    let verdicts = "";
    if ("receive" in order) await receiveAsDriver(runtime);
    else if ("send" in order) {
      for (const hex of order.send) {
        makeFrames(bpf, back, Uint8Array.fromHex(hex), { index });
      }
    } else verdicts = judgeAll(order);
    process.stdout.write(JSON.stringify({ id: order.id, verdicts }) + "\n");
  }
}
