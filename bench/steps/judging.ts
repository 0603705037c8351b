/** Packets that one core judges, in Deno and in Bun. */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Bench, Step } from "../step.ts";

/** Runs of each, of which the median counts. */
const RUNS = 3;

const DENO = ["deno", "run", "-A", "--no-check"];
const BUN = ["bun", "run"];

export const judging: Step = {
  name: "judging",
  measures: [
    "judge_valid_per_s",
    "judge_valid_per_s_bun",
    "judge_valid_replied_per_s",
    "judge_stored_per_s",
    "judge_stored_per_s_bun",
    "judge_replay_per_s",
    "judge_bad_mac_per_s",
    "judge_bad_tag_per_s",
    "judge_replay_per_s_bun",
    "judge_bad_mac_per_s_bun",
    "judge_bad_tag_per_s_bun",
  ],
  peers: [],
  programs: ["deno"],
  inNamespaces: false,

  run(bench) {
    const inBun = (names: Record<string, number[]>) =>
      Object.fromEntries(
        Object.entries(names).map(([name, rates]) => [`${name}_bun`, rates]),
      );
    for (const file of ["../judge.ts", "../stored.ts"]) {
      note(bench, rates(bench, DENO, file));
      note(bench, inBun(rates(bench, BUN, file)));
    }
    return Promise.resolve();
  },
};

function rates(
  { quick }: Bench,
  command: readonly string[],
  file: string,
): Record<string, number[]> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const found: Record<string, number[]> = {};
  for (let run = 0; run < (quick ? 1 : RUNS); run++) {
    const argv = [...command.slice(1), path, "--json"];
    const ran = spawnSync(command[0]!, argv, { encoding: "utf8" });
    if (ran.status !== 0) throw new Error(ran.stderr || `no ${command[0]}`);
    for (const [name, rate] of Object.entries(JSON.parse(ran.stdout))) {
      (found[name] ??= []).push(rate as number);
    }
  }
  return found;
}

function note({ results }: Bench, found: Record<string, number[]>): void {
  for (const [name, all] of Object.entries(found)) {
    results.timings("measures", name, all);
  }
}
