import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { checkSequences } from "../../lib/commands/operator/doctor/server.ts";
import type { SequenceEntry, Watch } from "../../lib/config/config.ts";
import type { SequenceFact } from "../../lib/server/sequences/sequences.ts";
import { makeConfig } from "../fakes/fixtures.ts";

function entry(watch: Watch): SequenceEntry {
  const nothing = { ipv4: null, ipv6: null };
  return {
    ...{ name: "a", watch, opens: [], oneTime: false, closes: null },
    ...{ run: nothing, runAfter: nothing, from: null, every: null },
  };
}

const CASES: [
  watch: Watch,
  fact: Partial<SequenceFact> | null,
  want: string,
][] = [
  ["kernel", {}, "ok sequence a (watch: kernel): is heard"],
  [
    "sniff",
    { left: 2 },
    "ok sequence a (watch: sniff): is heard, 2 one-time sequences left",
  ],
  [
    "sniff",
    { left: 0 },
    "bad sequence a (watch: sniff): all one-time sequences are used, it stays shut",
  ],
  [
    "kernel",
    { trouble: "x" },
    "warn sequence a (watch: kernel): opens, but nobody hears of it: x",
  ],
  [
    "sniff",
    { trouble: "x" },
    "bad sequence a (watch: sniff): is not heard: x",
  ],
  [
    "socket",
    { name: "other" },
    "warn sequence a (watch: socket): the server has not read of it yet",
  ],
  ["socket", null, "ok sequence a (watch: socket): configured"],
];

for (const [watch, fact, want] of CASES) {
  test(`checkDoors() says ${want}`, () => {
    const whole = { name: "a", watch, left: null, trouble: null, ...fact };
    const config = makeConfig([], { sequences: [entry(watch)] });
    const found = checkSequences(config, fact && [whole]);
    assertEquals(found.map(({ level, text }) => `${level} ${text}`), [want]);
  });
}
