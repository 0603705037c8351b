/** The models of docs/models/, checked by rumur; mutants of them are found. */

import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

type Model = "acceptance" | "telling";
type Constants = Readonly<Record<string, number>>;

const TEST_MS = 300_000;

/** One gateway alone, and two in a fleet. */
const ALONE = { GATEWAYS: 1, FLEET: 0 };
const FLEET = {};

const TWICE = "no packet is accepted twice";
const LOST = "no acknowledged grant is lost";
const CLOSED = "what was closed stays closed";
const AGREED = "when nothing is on its way, all are of one mind";

/** Mutants: other constants, and the invariant that breaks. */
const MUTANTS: readonly (readonly [
  name: string,
  constants: Constants,
  broken: string,
  model?: Model,
])[] = [
  ["a record is kept until the stamp only", { ...ALONE, KEPT: 0 }, TWICE],
  [
    "records are pruned by a clock that was set forward",
    { ...ALONE, PRUNES_SURELY: 0 },
    TWICE,
  ],
  ["a power cut forgets, and refuses nothing", { ...ALONE, FLOOR: 0 }, TWICE],
  ["answered before the ledger has it", { ...ALONE, LEDGER_FIRST: 0 }, LOST],
  ["unknown is taken for ours", { UNKNOWN_OPENS: 1 }, TWICE],
  ["a lease is shorter than twice the skew", { LEASE: 1 }, TWICE],
  [
    "a key with this gateway's name is ours",
    { ANY_HOLDER_IS_OURS: 1, FLOOR: 0 },
    TWICE,
  ],
  ["the engine's clock is not looked at", { CHECKS_ENGINE_CLOCK: 0 }, TWICE],
  ["an emptied engine is not noticed", { NOTICES_LOSS: 0 }, TWICE],
  ["a grant is told behind no heartbeat", { FENCED: 0 }, CLOSED, "telling"],
  [
    "a doubt ends when a heartbeat is answered",
    { SETTLES_HEARD: 0 },
    CLOSED,
    "telling",
  ],
  [
    "what was dropped meanwhile is put back",
    { BACK_IF_THERE: 0 },
    CLOSED,
    "telling",
  ],
  ["the next knock forgets a doubt", { KEEPS_DOUBT: 0 }, CLOSED, "telling"],
  [
    "a grant in doubt stays open, though it was dropped",
    { HEARS_DROPS: 0 },
    AGREED,
    "telling",
  ],
];

/** A model with other constants. */
function changed(constants: Constants, model: Model = "acceptance"): string {
  const path = new URL(`../../docs/models/${model}.m`, import.meta.url);
  let text = readFileSync(fileURLToPath(path), "utf8");
  for (const [name, value] of Object.entries(constants)) {
    const line = new RegExp(`^  ${name}: \\d+;`, "m");
    assert(line.test(text), name);
    text = text.replace(line, `  ${name}: ${value};`);
  }
  return text;
}

/** Reason why it cannot run here; null when it can. */
function whyNot(): string | null {
  for (const program of ["rumur", "cc"]) {
    const found = spawnSync("sh", ["-c", `command -v ${program}`]);
    if (found.status !== 0) return `needs the program ${program}`;
  }
  return null;
}

/** Output of the checker for a model. */
function check(text: string, folder: string, level: string): string {
  const at = (name: string) => join(folder, name);
  // A state after the last knock is an end.
  const ends = ["--deadlock-detection", "off"];
  writeFileSync(at("model.m"), text);
  for (
    const [program, ...args] of [
      ["rumur", ...ends, "--output", at("model.c"), at("model.m")],
      ["cc", level, "-w", "-o", at("model"), at("model.c"), "-lpthread"]
        .concat(process.arch === "x64" ? ["-mcx16"] : ["-latomic"]),
    ]
  ) {
    const { status, stderr } = spawnSync(program!, args);
    assertEquals(status, 0, `${program}: ${stderr}`);
  }
  return String(spawnSync(at("model"), [], { maxBuffer: 1e9 }).stdout);
}

const reason = whyNot();
const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;

function modelTest(name: string, body: (folder: string) => void): void {
  test(name, { skip, timeout: TEST_MS }, () => {
    assertEquals(reason, null);
    const folder = mkdtempSync(join(tmpdir(), "knock-model-"));
    try {
      body(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

function holds(folder: string, constants: Constants, model?: Model): void {
  const said = check(changed(constants, model), folder, "-O2");
  assert(said.includes("No error found."), said.slice(-4000));
}

// The whole of it takes half a minute, and is the same in Bun.
if ("Deno" in globalThis) {
  modelTest("the model of acceptance holds, alone and in a fleet", (folder) => {
    for (const constants of [ALONE, FLEET]) holds(folder, constants);
  });
}

modelTest("the model of what gateways tell each other holds", (folder) => {
  holds(folder, {}, "telling");
});

for (const [name, constants, broken, model] of MUTANTS) {
  modelTest(`the checker finds a model in which ${name}`, (folder) => {
    const said = check(changed(constants, model), folder, "-O1");
    assert(said.includes(`invariant "${broken}"`), said.slice(-4000));
  });
}
