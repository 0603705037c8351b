/** The forge's workflows: what they run is there, and whose actions they run is pinned. */

import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import manifest from "../../deno.json" with { type: "json" };
import { TARGETS } from "../../packaging/compile.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = join(ROOT, ".github/workflows");

interface Step {
  readonly run?: string;
  readonly uses?: string;
}
interface Job {
  readonly steps: readonly Step[];
  readonly "timeout-minutes"?: number;
  readonly permissions?: Readonly<Record<string, string>>;
}
interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const workflows = readdirSync(FOLDER).map((name) => ({
  name,
  text: readFileSync(join(FOLDER, name), "utf8"),
  flow: parse(readFileSync(join(FOLDER, name), "utf8")) as Workflow,
}));
const tasks: readonly string[] = Object.keys(manifest.tasks);

for (const { name, text, flow } of workflows) {
  const jobs = Object.entries(flow.jobs);
  const steps = jobs.flatMap(([, job]) => job.steps);

  test(`${name}: each job is bounded, and may read the sources alone`, () => {
    assertEquals(flow.permissions, { contents: "read" });
    for (const [job, { "timeout-minutes": minutes }] of jobs) {
      assert(minutes !== undefined && minutes <= 60, job);
    }
    const writers = jobs.filter(([, { permissions }]) => permissions);
    const wanted = name === "release.yml" ? ["publish"] : [];
    assertEquals(writers.map(([job]) => job), wanted);
  });

  test(`${name}: each action is pinned to a commit`, () => {
    const used = steps.flatMap(({ uses }) => uses ?? []);
    assert(used.length > 0);
    for (const one of used) assert(/@[0-9a-f]{40}$/.test(one), one);
  });

  test(`${name}: each task and each file that is run is there`, () => {
    const runs = steps.flatMap(({ run }) => run ?? []).join("\n");
    for (const [, task] of runs.matchAll(/deno task ([\w:]+)/g)) {
      assert(tasks.includes(task!), task);
    }
    assert(runs.includes(".ci/run"));
    for (const [, binary] of text.matchAll(/binary: ([\w.-]+)/g)) {
      assert(TARGETS.some(({ file }) => file === binary), binary);
    }
  });

  test(`${name}: the runtimes are those of the gate`, () => {
    const gate = readFileSync(join(ROOT, ".ci/run"), "utf8");
    assert(gate.includes(`deno@${flow.env["DENO"]} `), "deno");
    assert(gate.includes(`bun@${flow.env["BUN"]} `), "bun");
  });
}
