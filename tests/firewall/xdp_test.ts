/** The assembler and the program of XDP, by their bytes; tests/netns/xdp_test.ts runs them. */

import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
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
  set,
  store,
  storeValue,
  swap16,
} from "../../lib/firewall/xdp/assembler.ts";
import {
  filterProgram,
  REASONS,
  TAG_KINDS,
  VERDICTS,
} from "../../lib/firewall/xdp/program.ts";
import { addressToBytes } from "../../lib/values/address.ts";
import { type FakeMap, runMachine } from "../fakes/bpf_machine.ts";
import {
  FRAMES,
  NEXT,
  OWN,
  PORTS,
  TAG,
  type Verdict,
  WEB_TAG,
} from "../fakes/xdp_frames.ts";

// Opcodes as clang and llvm-objdump have them; fields as in RFC 9669 §3.
const INSTRUCTIONS: readonly [name: string, line: Line, hex: string][] = [
  ["r3 = *(u8 *)(r6 + 23)", load(1, 3, 6, 23), "7163170000000000"],
  ["r3 = *(u16 *)(r6 + 12)", load(2, 3, 6, 12), "69630c0000000000"],
  ["r9 = *(u32 *)(r1 + 4)", load(4, 9, 1, 4), "6119040000000000"],
  ["r3 = *(u64 *)(r7 + 8)", load(8, 3, 7, 8), "7973080000000000"],
  ["*(u32 *)(r10 - 4) = r3", store(4, 10, -4, 3), "633afcff00000000"],
  ["*(u64 *)(r0 + 0) = r3", store(8, 0, 0, 3), "7b30000000000000"],
  [
    "*(u32 *)(r10 - 8) = -65536",
    storeValue(4, 10, -8, 0xffff0000),
    "620af8ff0000ffff",
  ],
  ["r0 = 2", set(0, 2), "b700000002000000"],
  ["r8 = -1", set(8, -1), "b7080000ffffffff"],
  ["r7 = r6", move(7, 6), "bf67000000000000"],
  ["r2 += -16", add(2, -16), "07020000f0ffffff"],
  ["r4 &= 65311", and(4, 0xff1f), "570400001fff0000"],
  ["r8 = be16 r8", swap16(8), "dc08000010000000"],
  ["r1 = map 7", mapPointer(1, 7), "18110000070000000000000000000000"],
  ["call 1", call(1), "8500000001000000"],
  ["exit", exit, "9500000000000000"],
];

for (const [name, line, hex] of INSTRUCTIONS) {
  test(`assemble() writes ${name}`, () => {
    assertEquals(assemble([line]).toHex(), hex);
  });
}

test("assemble() counts jumps from the next instruction, a map's pointer as two", () => {
  const bytes = assemble([
    { label: "start" },
    jumpIf(3, "==", 8, "end"),
    jumpIf(8, "<", 224, "start"),
    jumpIf(3, "!=", 0x45, "end"),
    mapPointer(1, 3),
    jumpIfRegister(2, ">", 9, "end"),
    jump("end"),
    { label: "end" },
    exit,
  ]);
  assertEquals(bytes.toHex().match(/.{16}/g), [
    "1503060008000000",
    "a508feffe0000000",
    "5503040045000000",
    "1811000003000000",
    "0000000000000000",
    "2d92010000000000",
    "0500000000000000",
    "9500000000000000",
  ]);
  assertThrows(() => assemble([jump("nowhere")]), RangeError, "nowhere");
});

test("filterProgram() is small, and grows by one instruction a port", () => {
  const parts = { tags: 3, addresses: 4, counters: 5 };
  const size = (...ports: number[]) =>
    filterProgram({ ports, ...parts }).length / 8;
  assertEquals(size(1, 2, 3), size(1) + 2);
  assertEquals(size(1, 1, 1), size(1));
  assertEquals(size(1) <= 150, true, `${size(1)} instructions`);
});

/** Verdict of the program on a frame, run without a kernel. */
function judge(frame: Uint8Array): Verdict {
  const counts = REASONS.map(() => new Uint8Array(8));
  const word = (value: number) =>
    new Uint8Array(new Uint32Array([value]).buffer);
  const hash = (keySize: number, all: [Uint8Array, number][]): FakeMap => ({
    keySize,
    values: new Map(all.map(([key, value]) => [key.toHex(), word(value)])),
  });
  const maps = new Map([
    [
      3,
      hash(8, [
        [TAG, TAG_KINDS.knock],
        [NEXT, TAG_KINDS.knock],
        [WEB_TAG, TAG_KINDS.web],
      ]),
    ],
    [4, hash(16, OWN.map((address) => [addressToBytes(address)!, 1]))],
    [5, {
      keySize: 4,
      values: new Map(
        counts.map((count, place) => [word(place).toHex(), count]),
      ),
    }],
  ]);
  const parts = { ports: PORTS, tags: 3, addresses: 4, counters: 5 };
  const verdict = runMachine(filterProgram(parts), frame, maps);
  const counted = REASONS.filter((_, place) => counts[place]![0] === 1);
  const sum = counts.reduce((all, count) => all + count[0]!, 0);
  if (verdict === VERDICTS.pass && sum === 0) return "pass";
  assertEquals([verdict, sum], [VERDICTS.drop, 1]);
  return counted[0]!;
}

for (const [name, frame, want] of FRAMES) {
  test(`filterProgram(): ${want} for ${name}`, () => {
    assertEquals(judge(frame), want);
  });
}

test("filterProgram() reads nothing beyond a frame, wherever it ends", () => {
  for (const [, frame] of FRAMES) {
    for (let size = 0; size <= Math.min(frame.length, 120); size++) {
      const cut = judge(frame.subarray(0, size));
      // No part of a frame is dropped for what it would have told.
      if (size < 42) assertEquals(cut, "pass");
    }
  }
});
