/**
 * Measures this project and the real peers side by side, in namespaces of its
 * own: `deno task bench`. With `--quick` fewer rounds; with `--only STEP` one
 * step, whose figures replace those in the latest report.
 * @module
 */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli/parse-args";
import { whyNot } from "../tests/netns/netns.ts";
import { describeMachine } from "./machine.ts";
import { drawPlots } from "./plots.ts";
import { mergeStep, Results } from "./results.ts";
import { Stage } from "./stage.ts";
import type { Bench, Step } from "./step.ts";
import { STEPS } from "./steps.ts";
import { formatTable } from "./table.ts";

const LATEST = fileURLToPath(new URL("results/latest.json", import.meta.url));
const RESULTS = fileURLToPath(new URL("results/", import.meta.url));
const DOCS = fileURLToPath(new URL("../docs/", import.meta.url));

async function measure(steps: readonly Step[], bench: Bench): Promise<void> {
  const { results } = bench;
  for (const step of steps) {
    const started = performance.now();
    bench.say(`${step.name} …`);
    const names = [...step.measures, ...step.peers];
    const missing = reasonAgainst(step);
    try {
      if (missing !== null) throw new Error(missing);
      await step.run(bench);
      results.explain(names, "the step ended without it");
    } catch (error) {
      const reason = (error as Error).message;
      results.explain(names, reason);
      bench.say(`${step.name}: ${reason}`);
    }
    const seconds = (performance.now() - started) / 1000;
    bench.say(`${step.name}: ${seconds.toFixed(1)} s`);
  }
}

function reasonAgainst(step: Step): string | null {
  if (step.inNamespaces) return whyNot(step.programs);
  for (const program of step.programs) {
    if (spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0) {
      return `needs the program ${program}`;
    }
  }
  return null;
}

function write(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), text);
}

async function main(): Promise<number> {
  const options = parseArgs(process.argv.slice(2), {
    boolean: ["quick"],
    string: ["only"],
    unknown: (name: string) => {
      process.stderr.write(`bench: unknown argument "${name}"\n`);
      process.exit(2);
    },
  });
  const { only, quick } = options;
  const steps = STEPS.filter(({ name }) => only === undefined || name === only);
  if (steps.length === 0) {
    const names = STEPS.map(({ name }) => name).join(", ");
    process.stderr.write(`bench: no step "${only}"; there are ${names}\n`);
    return 2;
  }
  const results = new Results();
  for (const step of STEPS) {
    const reason = steps.includes(step) ? "not reached" : "not asked for";
    results.promise("measures", step.measures, reason);
    results.promise("peers", step.peers, reason);
  }
  const folder = mkdtempSync(join(tmpdir(), "knock-bench-"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, async () => {
      await Stage.removeAll();
      rmSync(folder, { recursive: true, force: true });
      process.exit(1);
    });
  }
  const say = (words: string) => process.stderr.write(`${words}\n`);
  try {
    await measure(steps, { results, quick, folder, say });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const at = new Date().toISOString();
  const own = results.report(describeMachine(), at, quick);
  const merges = only !== undefined && !quick && existsSync(LATEST);
  const report = merges
    ? mergeStep(JSON.parse(readFileSync(LATEST, "utf8")), own, steps[0]!)
    : own;
  const table = formatTable(report);
  const name = only === undefined || merges ? "latest" : `only-${only}`;
  write(RESULTS, `${name}.json`, JSON.stringify(report, null, 2) + "\n");
  write(RESULTS, `${name}.md`, table);
  if (name === "latest" && !quick) {
    for (const [file, svg] of Object.entries(drawPlots(report))) {
      write(DOCS, file, svg);
    }
  }
  process.stdout.write(table);
  return 0;
}

if (import.meta.main) process.exit(await main());
