import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { SequenceMachine } from "../../lib/sequences/machine.ts";
import type { Packet } from "../../lib/sequences/packet.ts";
import { FLAG, parseHit, type Sequence } from "../../lib/sequences/sequence.ts";
import { makeSequence } from "../fakes/fixtures.ts";

const ALICE = "192.0.2.1";
const MALLORY = "192.0.2.66";

let serial = 0;

function packet(
  text: string,
  source = ALICE,
  more: Partial<Packet> = {},
): Packet {
  const hit = parseHit(text)!;
  return {
    source,
    target: "198.51.100.1",
    sourcePort: 40_000 + serial++ % 20_000,
    flags: hit.protocol === "tcp" ? FLAG.syn : 0,
    sequenceNumber: hit.protocol === "tcp" ? serial : 0,
    ...hit,
    ...more,
  };
}

/** The names of what completes, one packet each 10 ms. */
function completes(
  sequences: readonly Sequence[],
  packets: readonly Packet[],
): string[] {
  const machine = new SequenceMachine(sequences);
  return packets.flatMap((each, index) =>
    machine.hear(each, 1000 + index * 10)
      .filter(({ kind }) => kind === "complete")
      .map(({ sequence }) => sequence.name)
  );
}

const DOORS = [
  makeSequence("A", "7000 8000 9000"),
  makeSequence("C", "6000 6001"),
  makeSequence("mixed", "tcp/7100 udp/8100 tcp/9100"),
];

const TABLE: [what: string, packets: string, want: string[]][] = [
  ["the right order", "7000 8000 9000", ["A"]],
  ["TCP and UDP mixed", "7100 8100:udp 9100", ["mixed"]],
  ["UDP where TCP is wanted", "7000 udp/8000 8000 9000", ["A"]],
  ["another order", "8000 7000 9000", []],
  ["a wrong knock between", "7000 6001 8000 9000", []],
  ["a port of no sequence between", "7000 7777 8000 9000", ["A"]],
  ["a first hit twice, which begins again", "7000 7000 8000 9000", ["A"]],
  ["a second hit twice", "7000 8000 8000 9000", []],
  ["a second sequence after a broken one", "7000 6000 6001", ["C"]],
  ["one after the other", "7000 8000 9000 6000 6001", ["A", "C"]],
  ["twice", "7000 8000 9000 7000 8000 9000", ["A", "A"]],
  ["only the end", "8000 9000", []],
  ["all but the end", "7000 8000", []],
];

for (const [what, packets, want] of TABLE) {
  test(`hear() on ${what}: ${want.join(" ") || "nothing"}`, () => {
    const all = packets.split(" ").map((text) => packet(text));
    assertEquals(completes(DOORS, all), want);
  });
}

test("hear() takes no UDP for TCP where another sequence wants UDP there", () => {
  const doors = [
    makeSequence("tcp", "7000 8000"),
    makeSequence("udp", "udp/8000 udp/8001"),
  ];
  const hear = (text: string) =>
    completes(doors, text.split(" ").map((one) => packet(one)));
  assertEquals(hear("7000 8000:udp"), []);
  assertEquals(hear("7000 8000"), ["tcp"]);
  assertEquals(hear("8000:udp 8001"), []);
  assertEquals(hear("8000:udp 8001:udp"), ["udp"]);
});

test("hear() brings sequences that begin alike on together", () => {
  const doors = [
    makeSequence("web", "7000 8000 8443"),
    makeSequence("ssh", "7000 8000 22022"),
    makeSequence("prefix", "7000 8000"),
  ];
  const heard = (text: string) =>
    completes(doors, text.split(" ").map((each) => packet(each)));
  assertEquals(heard("7000 8000 22022"), ["prefix", "ssh"]);
  assertEquals(heard("7000 8000 8443"), ["prefix", "web"]);
  assertEquals(heard("7000 8000 8443 22022"), ["prefix", "web"]);
});

test("hear() completes a sequence of one hit at each hit", () => {
  const doors = [makeSequence("one", "udp/5000"), ...DOORS];
  const all = ["udp/5000", "udp/5000", "7000", "udp/5000", "8000", "9000"];
  assertEquals(completes(doors, all.map((text) => packet(text))), [
    "one",
    "one",
    "one",
  ]);
});

test("hear() takes the same port several times in a sequence", () => {
  const doors = [makeSequence("same", "7000 7000 7000")];
  const all = ["7000", "7000", "7000"].map((text) => packet(text));
  assertEquals(completes(doors, all), ["same"]);
  assertEquals(completes(doors, all.slice(1)), []);
});

test("hear() does not count a retransmitted hit", () => {
  for (const index of [0, 1, 2]) {
    const all = ["7000", "8000", "9000"].map((text) => packet(text));
    const twice = all.flatMap((each, at) => at === index ? [each, each] : each);
    assertEquals(completes(DOORS, twice), ["A"], `hit ${index}`);
  }
  // Retransmitted when the next one was heard already.
  const [a, b, c] = ["7000", "8000", "9000"].map((text) => packet(text));
  assertEquals(completes(DOORS, [a!, b!, a!, b!, c!, c!]), ["A"]);
  // The same one can never be two hits of one sequence.
  const same = packet("7000");
  assertEquals(
    completes([makeSequence("same", "7000 7000")], [same, same]),
    [],
  );
});

test("hear() measures from the first hit", () => {
  const table: [atMs: number[], complete: boolean][] = [
    [[0, 2500, 5000], true],
    [[0, 2500, 5001], false],
    [[0, 4999, 5001], false],
    [[0, 0, 0], true],
  ];
  for (const [times, want] of table) {
    const machine = new SequenceMachine(DOORS);
    const events = ["7000", "8000", "9000"].flatMap((text, index) =>
      machine.hear(packet(text), times[index]!)
    );
    const kinds = events.map(({ kind }) => kind);
    assertEquals(kinds.includes("complete"), want, String(times));
    assertEquals(kinds.includes("late"), !want, String(times));
  }
});

test("hear() tells of each step", () => {
  const machine = new SequenceMachine(DOORS);
  const told = ["7000", "8000", "6001", "7000", "8000", "9000"].map((text) =>
    machine.hear(packet(text), 0).map(({ kind, sequence, hits }) =>
      `${kind} ${sequence.name} ${hits}`
    )
  );
  assertEquals(told, [
    ["hit A 1"],
    ["hit A 2"],
    ["wrong A 2"],
    ["hit A 1"],
    ["hit A 2"],
    ["complete A 3"],
  ]);
});

test("hear() looks at flags and targets", () => {
  const all = (more: Partial<Packet>) =>
    ["7000", "8000", "9000"].map((text) => packet(text, ALICE, more));
  const flags = (set: number, clear = 0) => [
    makeSequence("A", "7000 8000 9000", { flags: { set, clear } }),
  ];
  const SYN_ACK = FLAG.syn | FLAG.ack;
  assertEquals(completes(DOORS, all({ flags: SYN_ACK })), []);
  assertEquals(completes(DOORS, all({ flags: FLAG.ack })), []);
  assertEquals(completes(flags(FLAG.syn), all({ flags: SYN_ACK })), ["A"]);
  assertEquals(
    completes(flags(FLAG.fin, FLAG.ack), all({ flags: FLAG.fin })),
    ["A"],
  );
  assertEquals(
    completes(
      flags(FLAG.fin, FLAG.ack),
      all({ flags: FLAG.fin | FLAG.ack }),
    ),
    [],
  );
  const [a, b, c] = all({});
  // What does not count does not break, either.
  const reset = packet("9000", ALICE, { flags: FLAG.rst });
  assertEquals(completes(DOORS, [a!, reset, b!, reset, c!]), ["A"]);

  const door = [
    makeSequence("A", "7000 8000 9000", { target: "198.51.100.7" }),
  ];
  assertEquals(completes(door, all({ target: "198.51.100.7" })), ["A"]);
  assertEquals(completes(door, all({ target: "198.51.100.1" })), []);
});

test("hear() keeps 1,000 interleaved sources apart", () => {
  const machine = new SequenceMachine(DOORS);
  const opened = new Set<string>();
  for (const text of ["7000", "8000", "9000"]) {
    for (let i = 0; i < 1000; i++) {
      const source = `10.0.${i >> 8}.${i & 255}`;
      for (const event of machine.hear(packet(text, source), 0)) {
        if (event.kind === "complete") opened.add(event.source);
      }
      // Another's mistakes are another's.
      machine.hear(packet("6001", MALLORY), 0);
    }
  }
  assertEquals(opened.size, 1000);
});

test("hear() remembers a bounded number of sources", () => {
  const machine = new SequenceMachine(DOORS, [], 100);
  machine.hear(packet("7000"), 0);
  for (let i = 0; i < 99; i++) {
    machine.hear(packet("7000", `10.0.0.${i}`), 0);
  }
  assertEquals(machine.sources, 100);
  machine.hear(packet("8000"), 1); // alice is not the quietest now
  for (let i = 0; i < 99; i++) {
    machine.hear(packet("7000", `10.0.1.${i}`), 1);
  }
  assertEquals(machine.sources, 100);
  const kinds = machine.hear(packet("9000"), 2).map(({ kind }) => kind);
  assertEquals(kinds, ["complete"]);
});

test("hear() forgets sources that got nothing right", () => {
  const machine = new SequenceMachine(DOORS);
  for (let i = 0; i < 100; i++) {
    machine.hear(packet("9000", `10.0.0.${i}`), 0);
  }
  assertEquals(machine.sources, 0);
});

test("hear() opens to nothing but the hits in their order", () => {
  const ports = ["7000", "8000", "9000", "6000", "6001", "udp/7000"];
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...ports), { maxLength: 12 }),
      (texts) => {
        const got = completes(
          [DOORS[0]!],
          texts.map((text) => packet(text)),
        ).length;
        // The reference: the last three of its own ports, cut at each opening.
        let want = 0;
        let run: string[] = [];
        for (const text of texts.filter((text) => /^[789]/.test(text))) {
          run = [...run, text].slice(-3);
          if (run.join(" ") !== "7000 8000 9000") continue;
          want++;
          run = [];
        }
        assertEquals(got, want);
      },
    ),
    { numRuns: 300 },
  );
});
