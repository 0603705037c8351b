/**
 * `deno task mutate [--part N/M] [--only TEXT] [--texts]`: proves that the tests hold
 * the lines that security rests on. Applies each change of `mutants.json` to
 * a copy of the project and runs the tests beside it, which must fail.
 *
 * A mutant is found by its text, which must occur exactly once in its file:
 * a line that moved is an error here, never a mutant that is passed over.
 * `--texts` checks that alone and runs no test.
 * @module
 */

import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli/parse-args";
import list from "./mutants.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Not copied: what nobody changes, and what no test reads. */
const LEFT_OUT = ["node_modules", ".git", "dist"];
/** A run of tests takes a second or two; one without an end is an error. */
const TIMEOUT_MS = 300_000;

const USAGE = `Usage: deno task mutate [--part N/M] [--only TEXT] [--texts]

    --part N/M     Try each Mth mutant, from the Nth on.
    --only TEXT    Try those whose file and name contain TEXT.
    --texts        Check that each text is found; run no test.`;

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly tests: readonly string[];
  readonly find: string;
  readonly replace: string;
}

/** A run of tests: how it ended, and what it printed. */
interface Ran {
  readonly code: number | null;
  readonly text: string;
}

const mutants: readonly Mutant[] = list.flatMap(({ file, tests, mutants }) =>
  mutants.map((mutant) => ({ ...mutant, file, tests }))
);

/** Why the list does not fit the project, a line each. */
function mistakes(): string[] {
  const found: string[] = [];
  const names = new Set<string>();
  for (const { name, file, tests, find, replace } of mutants) {
    const path = join(ROOT, file);
    const count = fs.existsSync(path)
      ? fs.readFileSync(path, "utf8").split(find).length - 1
      : 0;
    if (count !== 1) {
      found.push(`${name}: its text must be once in ${file}, found ${count}`);
    }
    if (find === replace) found.push(`${name}: it changes nothing`);
    if (names.has(name)) found.push(`${name}: the name is used twice`);
    names.add(name);
    for (const test of tests) {
      if (!fs.existsSync(join(ROOT, test))) {
        found.push(`${name}: no such test file: ${test}`);
      }
    }
  }
  return found;
}

/** A copy of the project; its packages are the project's own. */
function copyProject(): string {
  const folder = fs.mkdtempSync(join(tmpdir(), "knock-mutate-"));
  for (const name of fs.readdirSync(ROOT)) {
    if (LEFT_OUT.includes(name)) continue;
    fs.cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  fs.symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

function runTests(folder: string, tests: readonly string[]): Promise<Ran> {
  const args = ["test", "-A", "--no-check", "--fail-fast", ...tests];
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1" },
    timeout: TIMEOUT_MS,
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => text += chunk);
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, text }));
  });
}

/** Tries a mutant: null where a test failed by it, else why it lives. */
async function tryOut(folder: string, mutant: Mutant): Promise<string | null> {
  const { name, file, tests, find, replace } = mutant;
  const path = join(folder, file);
  const before = fs.readFileSync(path, "utf8");
  fs.writeFileSync(path, before.replace(find, () => replace));
  try {
    const { code, text } = await runTests(folder, tests);
    if (code === 0) return `${name}: survives ${tests.join(" ")}`;
    // No proof: the mutant is no program, or the tests did not come to an end.
    if (code === null || /uncaught error|SyntaxError/.test(text)) {
      return `${name}: its tests did not run:\n${text}`;
    }
    return null;
  } finally {
    fs.writeFileSync(path, before);
  }
}

function print(text: string): void {
  process.stdout.write(text + "\n");
}

async function main(): Promise<number> {
  const unknown: string[] = [];
  const options = parseArgs(process.argv.slice(2), {
    string: ["part", "only"],
    boolean: ["texts", "help"],
    unknown: (given: string) => {
      unknown.push(given);
      return false;
    },
  });
  const [part, parts] = (options.part ?? "1/1").split("/").map(Number);
  const isPart = part! >= 1 && part! <= parts!;
  if (options.help || unknown.length > 0 || !isPart) {
    if (unknown.length > 0) print(`unknown: ${unknown.join(" ")}`);
    print(USAGE);
    return options.help ? 0 : 2;
  }
  const wrong = mistakes();
  if (wrong.length > 0) {
    print(wrong.join("\n"));
    return 2;
  }
  if (options.texts) return 0;
  const chosen = mutants.filter(({ name, file }, index) =>
    index % parts! === part! - 1 &&
    `${file} ${name}`.includes(options.only ?? "")
  );
  if (chosen.length === 0) {
    // No tests to run would be all tests, those that boot machines included.
    print("no mutant is chosen");
    return 1;
  }
  const folders = Array.from(
    { length: availableParallelism() },
    () => copyProject(),
  );
  try {
    // Tests that fail anyway would kill every mutant.
    const tests = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
    const whole = await runTests(folders[0]!, tests);
    if (whole.code !== 0) {
      print(`the tests fail without a mutant:\n${whole.text}`);
      return 1;
    }
    const waiting = [...chosen];
    const failures: string[] = [];
    await Promise.all(folders.map(async (folder) => {
      for (let one = waiting.shift(); one; one = waiting.shift()) {
        const failure = await tryOut(folder, one);
        if (failure === null) continue;
        failures.push(failure);
        print(failure);
      }
    }));
    const killed = chosen.length - failures.length;
    print(`${killed} of ${chosen.length} killed`);
    return failures.length === 0 ? 0 : 1;
  } finally {
    for (const folder of folders) fs.rmSync(folder, { recursive: true });
  }
}

process.exitCode = await main();
