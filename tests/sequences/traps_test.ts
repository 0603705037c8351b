import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { SequenceMachine, trapsBeside } from "../../lib/sequences/machine.ts";
import {
  FIRST_PACKET,
  FLAG,
  formatHit,
  parseHit,
  type Sequence,
} from "../../lib/sequences/sequence.ts";
import { sniffCommand } from "../../lib/sequences/tcpdump.ts";
import { parsePortRange } from "../../lib/values/ports.ts";

const hits = (text: string) => text.split(" ").map((one) => parseHit(one)!);

const BESIDE: [of: string, reach: number, used: string, want: string][] = [
  ["tcp/7000", 1, "", "tcp/6999 tcp/7001"],
  ["tcp/7000 tcp/7001", 1, "", "tcp/6999 tcp/7002"],
  ["tcp/7000 udp/7001", 1, "", "tcp/6999 tcp/7001 udp/7000 udp/7002"],
  ["tcp/1 tcp/65535", 1, "", "tcp/2 tcp/65534"],
  ["tcp/7000", 2, "tcp/7001-7002", "tcp/6998 tcp/6999"],
];

for (const [of, reach, used, want] of BESIDE) {
  test(`trapsBeside() of ${of}, ${reach} far, but ${used || "none"}`, () => {
    const ranges = used === "" ? [] : [parsePortRange(used)!];
    const traps = trapsBeside(hits(of), reach, ranges);
    assertEquals(traps.map(formatHit).join(" "), want);
  });
}

test("sniffCommand() joins ports that are neighbours", () => {
  assertEquals(
    sniffCommand(hits("tcp/7001 tcp/7000 udp/9000")).at(-1)!.split(" or ")
      .slice(0, 2),
    ["tcp dst portrange 7000-7001", "udp dst portrange 9000-9000"],
  );
});

test("hear() takes a source back that comes to a trap", () => {
  const door: Sequence = {
    ...{ name: "a", action: "open", hits: hits("tcp/7000 tcp/9000") },
    ...{ withinMs: 5000, open: [], forSeconds: 1, once: false },
    ...{ flags: FIRST_PACKET, target: null },
  };
  const machine = new SequenceMachine([door], hits("tcp/7001"));
  let sequenceNumber = 0;
  const hear = (port: number) =>
    machine.hear({
      ...{ source: "192.0.2.9", target: "192.0.2.1", protocol: "tcp", port },
      ...{ sourcePort: 40_000, flags: FLAG.syn },
      sequenceNumber: ++sequenceNumber,
    }, 0).map(({ kind }) => kind);
  assertEquals(hear(7000), ["hit"]);
  assertEquals(hear(7001), ["wrong"]);
  assertEquals(hear(9000), []);
  assertEquals(hear(7000), ["hit"]);
  assertEquals(hear(9000), ["complete"]);
});
