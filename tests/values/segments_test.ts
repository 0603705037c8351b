import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import {
  cutSegments,
  formatPortRange,
  mergePorts,
  parsePortRange,
  type Segment,
} from "../../lib/values/ports.ts";

function segment(text: string, untilMs: number): Segment {
  return { ...parsePortRange(text)!, untilMs };
}

const cuts: [string, Segment[], Segment[]][] = [
  ["nothing", [], []],
  ["a range alone", [segment("tcp/1-9", 5)], [segment("tcp/1-9", 5)]],
  [
    "two that overlap",
    [segment("tcp/10-20", 90), segment("tcp/15-30", 30)],
    [segment("tcp/10-20", 90), segment("tcp/21-30", 30)],
  ],
  [
    "one inside another",
    [segment("tcp/10-30", 30), segment("tcp/15-20", 90)],
    [
      segment("tcp/10-14", 30),
      segment("tcp/15-20", 90),
      segment("tcp/21-30", 30),
    ],
  ],
  [
    "neighbours of one end",
    [segment("tcp/10-19", 30), segment("tcp/20-30", 30)],
    [segment("tcp/10-30", 30)],
  ],
  [
    "neighbours with a gap, and another protocol",
    [
      segment("tcp/10-18", 30),
      segment("tcp/20-30", 30),
      segment("udp/19-30", 30),
    ],
    [
      segment("tcp/10-18", 30),
      segment("tcp/20-30", 30),
      segment("udp/19-30", 30),
    ],
  ],
  [
    "up to the last port",
    [segment("tcp/1-65535", 1), segment("tcp/65535", 2)],
    [segment("tcp/1-65534", 1), segment("tcp/65535", 2)],
  ],
];

for (const [name, given, want] of cuts) {
  test(`cutSegments() cuts ${name}`, () => {
    assertEquals(cutSegments(given), want);
  });
}

const anySegments = fc.array(
  fc.record({
    protocol: fc.constantFrom("tcp" as const, "udp" as const),
    first: fc.integer({ min: 1, max: 30 }),
    length: fc.integer({ min: 0, max: 10 }),
    untilMs: fc.integer({ min: 1, max: 4 }),
  }).map(({ length, ...rest }) => ({ ...rest, last: rest.first + length })),
  { maxLength: 6 },
);

test("cutSegments() keeps each port's latest end, in pieces that share none", () => {
  fc.assert(fc.property(anySegments, (given) => {
    const pieces = cutSegments(given);
    for (const protocol of ["tcp", "udp"] as const) {
      for (let port = 1; port <= 45; port++) {
        const over = (all: readonly Segment[]) =>
          all.filter((each) =>
            each.protocol === protocol && each.first <= port &&
            port <= each.last
          ).map(({ untilMs }) => untilMs);
        const latest = over(given).sort().slice(-1);
        assertEquals(over(pieces), latest);
      }
    }
  }));
});

const merges: [given: string[], want: string[]][] = [
  [["tcp/22", "tcp/22"], ["tcp/22"]],
  [["tcp/23", "tcp/22"], ["tcp/22-23"]],
  [["tcp/22", "tcp/24"], ["tcp/22", "tcp/24"]],
  [["tcp/20-30", "tcp/25", "tcp/31"], ["tcp/20-31"]],
  [["udp/22", "tcp/23", "tcp/22"], ["tcp/22-23", "udp/22"]],
];
for (const [given, want] of merges) {
  test(`mergePorts() makes ${want} of ${given}`, () => {
    const merged = mergePorts(given.map((text) => parsePortRange(text)!));
    assertEquals(merged.map(formatPortRange), want);
  });
}
