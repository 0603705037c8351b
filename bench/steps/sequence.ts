/** Sequences of ports that the kernel judges: from the last knock on, and many at once. */

import {
  GuardedServer,
  KNOCK_HOST,
  SEQUENCE_HITS,
  sequenceKnocks,
} from "../guarded.ts";
import type { Interleaved } from "../prober/orders.ts";
import { expectAll, SERVICE_PORT, Stage } from "../stage.ts";
import type { Step } from "../step.ts";

const ROUNDS = 150;
const QUICK_ROUNDS = 25;
const SOURCES = 1000;
const SOURCES_FROM = 0x30000;

export const sequence: Step = {
  name: "sequence",
  measures: ["sequence_open_ms_median", "sequences_interleaved_open"],
  peers: [],
  programs: ["ip", "nft"],
  inNamespaces: true,

  run: ({ results, quick }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async () => {
        const rounds = quick ? QUICK_ROUNDS : ROUNDS;
        const knocks = sequenceKnocks("tcp");
        const openings = await stage.timeOpenings(rounds, () => knocks);
        expectAll(openings, rounds);
        results.timings("measures", "sequence_open_ms_median", openings.ms);
        results.measure(
          "sequences_interleaved_open",
          await countInterleaved(stage, 0),
        );
      }, { sequence: "tcp" })
    ),
};

/** Of 1,000 addresses that knock at the same time, how many are let in. */
export async function countInterleaved(
  stage: Stage,
  settleMs: number,
): Promise<number> {
  const { open } = await stage.ask<Interleaved>({
    do: "interleave",
    from: SOURCES_FROM,
    count: SOURCES,
    target: KNOCK_HOST,
    hits: SEQUENCE_HITS,
    port: SERVICE_PORT,
    settleMs,
  });
  return open;
}
