/**
 * `deno task fuzz [--seconds N] [--executions N] [--seed N]`: feeds every
 * parser with changed samples until the time is over. A finding is a throw that
 * is no OperatorError, a call that takes too long, or memory that grows; it is
 * printed with its bytes, and the end is 1. Writes fuzz/results.json.
 */

import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { OperatorError } from "../../lib/values/errors.ts";
import { mutate, randomOf } from "./mutate.ts";
import { type Target, TARGETS } from "./targets.ts";

/** A call longer than this hangs; the collector's pauses are shorter. */
const SLOW_MS = 1000;
/** A target's turn. */
const TURN_MS = 250;
/** Most memory in use when all of it is collected now and then, MB. */
const MAX_MB = 1024;
/** More findings of one target are not listed. */
const MAX_FINDINGS = 5;

interface Finding {
  readonly target: string;
  readonly what: string;
  /** The input, in base64. */
  readonly input: string;
}

const options = parseArgs(process.argv.slice(2), {
  string: ["seconds", "executions", "seed"],
});
const seconds = Number(options.seconds ?? 60);
const wanted = Number(options.executions ?? Infinity);
const seed = Number(options.seed ?? Date.now() % 1_000_000);

const random = randomOf(seed);
const findings: Finding[] = [];
const executed: Record<string, number> = {};
let executions = 0;

function find(target: Target, what: string, bytes: Uint8Array): void {
  const same = findings.filter((finding) => finding.target === target.name);
  if (same.length >= MAX_FINDINGS) return;
  const finding = { target: target.name, what, input: bytes.toBase64() };
  findings.push(finding);
  process.stderr.write(`${JSON.stringify(finding)}\n`);
}

function turn(target: Target): void {
  const endMs = performance.now() + TURN_MS;
  let count = 0;
  let nowMs = performance.now();
  while (nowMs < endMs) {
    const bytes = mutate(target.seeds, random);
    const startMs = performance.now();
    try {
      target.run(bytes);
    } catch (error) {
      if (!(error instanceof OperatorError)) {
        find(target, String((error as Error)?.stack ?? error), bytes);
      }
    }
    nowMs = performance.now();
    if (nowMs - startMs > (target.limitMs ?? SLOW_MS)) {
      find(target, `took ${Math.round(nowMs - startMs)} ms`, bytes);
    }
    count++;
  }
  const mb = process.memoryUsage().rss / 1_048_576;
  if (mb > MAX_MB) find(target, `${Math.round(mb)} MB`, new Uint8Array());
  executed[target.name] = (executed[target.name] ?? 0) + count;
  executions += count;
}

for (const target of TARGETS) {
  // Every sample as it is, too: a target without one would fuzz nothing.
  if (target.seeds.length === 0) throw new Error(`no sample: ${target.name}`);
}
const startMs = performance.now();
const elapsed = () => (performance.now() - startMs) / 1000;
while (elapsed() < seconds && executions < wanted) {
  for (const target of TARGETS) turn(target);
}
const results = {
  executions,
  seconds: Math.round(elapsed()),
  seed,
  findings,
  targets: executed,
};
writeFileSync(
  new URL("results.json", import.meta.url),
  JSON.stringify(results, null, 2) + "\n",
);
process.stdout.write(
  `${executions} executions in ${results.seconds} s (seed ${seed}): ` +
    `${findings.length} findings\n`,
);
process.exit(findings.length > 0 ? 1 : 0);
