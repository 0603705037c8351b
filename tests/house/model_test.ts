/** The models of docs/models/, checked by rumur; mutants of them are found. */

import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const MODEL = readFileSync(
  fileURLToPath(new URL("../../docs/models/acceptance.m", import.meta.url)),
  "utf8",
);

const TEST_MS = 300_000;

/** One gateway alone, and two in a fleet. */
const ALONE = { GATEWAYS: 1, FLEET: 0 };
const FLEET = {};

const TWICE = "no packet is accepted twice";
const LOST = "no acknowledged grant is lost";

/** Mutants: other constants, and the invariant that breaks. */
const MUTANTS: readonly (readonly [
  name: string,
  constants: Readonly<Record<string, number>>,
  broken: string,
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
];

/** The model with other constants. */
function changed(constants: Readonly<Record<string, number>>): string {
  let text = MODEL;
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
  writeFileSync(at("model.m"), text);
  for (
    const [program, ...args] of [
      ["rumur", "--output", at("model.c"), at("model.m")],
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

// The whole of it takes half a minute, and is the same in Bun.
if ("Deno" in globalThis) {
  modelTest("the model of acceptance holds, alone and in a fleet", (folder) => {
    for (const constants of [ALONE, FLEET]) {
      const said = check(changed(constants), folder, "-O2");
      assert(said.includes("No error found."), said.slice(-4000));
    }
  });
}

for (const [name, constants, broken] of MUTANTS) {
  modelTest(`the checker finds a model in which ${name}`, (folder) => {
    const said = check(changed(constants), folder, "-O1");
    assert(said.includes(`invariant "${broken}"`), said.slice(-4000));
  });
}
