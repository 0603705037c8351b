/** Junk of other dialects, as costly as it can be made, does not keep knocks out. */

import { assert } from "@std/assert";
import {
  JUNK_CLIENT_FILES,
  JUNK_CLIENTS,
  JUNK_PER_SECOND,
  startDialectJunk,
} from "./dialect_junk.ts";
import { CLIENTS, netnsTest } from "./netns.ts";
import { Program } from "./program.ts";

const KNOCKS = 20;
/** Of these so many may be lost. */
const LOST = 1;
/**
 * Whatever else this machine does takes the processor away from the server or
 * from the junk's sender for a moment, and costs a run a knock or two; a
 * server that junk starves loses them in every run. So one good run of these
 * is the claim, with its full figure, and no bound that is loose enough for a
 * bad one.
 */
const RUNS = 3;
/** Packets a second of both dialects that must have been sent. */
const ENOUGH = 0.8 * 2 * JUNK_PER_SECOND;
const TEST_MS = 240_000;

/** A run; it is over when more were lost than may be. */
interface Run {
  readonly lost: number;
  readonly knocks: number;
  /** What the server counted, per second. */
  readonly seen: Readonly<Record<string, number>>;
}

async function counters(program: Program): Promise<Record<string, number>> {
  const { stdout } = await program.admin("status", "--json");
  return JSON.parse(stdout).counters;
}

async function measure(program: Program): Promise<Run> {
  const before = await counters(program);
  const startMs = Date.now();
  let knocks = 0;
  let lost = 0;
  while (knocks < KNOCKS && lost <= LOST) {
    const said = await program.client(["alice", "--tries", "3"]);
    knocks++;
    if (said.code !== 0) lost++;
  }
  const seconds = (Date.now() - startMs) / 1000;
  const after = await counters(program);
  const seen = Object.fromEntries(
    Object.entries(after).map(([name, count]) => [
      name,
      Math.round((count - (before[name] ?? 0)) / seconds),
    ]),
  );
  return { lost, knocks, seen };
}

for (const [words, sources] of [["few", 4], ["many", 2000]] as const) {
  netnsTest(
    `knocks open under junk of other dialects from ${words} sources`,
    async (pair) => {
      const program = new Program(pair);
      try {
        program.configure(
          "listen: [62201]\nservices: { ssh: tcp/22 }\ndefaults: { for: 1m }",
          [{ name: "alice", policy: ["open: [ssh]"] }, ...JUNK_CLIENTS],
        );
        for (const [name, text] of Object.entries(JUNK_CLIENT_FILES)) {
          program.write(name, text);
        }
        // deno-fmt-ignore
        await pair.exec(pair.client, [
          "ip", "route", "add", "local", "10.98.0.0/16", "dev", "lo",
        ]);
        // deno-fmt-ignore
        await pair.onServer([
          "ip", "route", "add", "10.98.0.0/16", "via", CLIENTS[4][0],
        ]);
        await program.serve();
        await program.enrol("alice");
        const junk = await startDialectJunk(pair, program.folder, sources);
        const runs: Run[] = [];
        do runs.push(await measure(program)); while (
          runs.at(-1)!.lost > LOST && runs.length < RUNS
        );
        const figures = JSON.stringify(runs);
        const { lost, seen } = runs.at(-1)!;
        assert(lost <= LOST, figures);
        assert(seen["refused: unknown client"]! < JUNK_PER_SECOND, figures);
        // Less of it would prove nothing.
        assert(await junk.end() >= ENOUGH, figures);
      } finally {
        program.remove();
      }
    },
    [],
    TEST_MS,
  );
}
