/** A whole client from its start to its end: one knock, no waiting. */

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { Compiler, TARGETS } from "../../packaging/compile.ts";
import type { Step } from "../step.ts";

const ROUNDS = 40;
const QUICK_ROUNDS = 10;
/** Nobody listens there: no one answers, and no one is disturbed. */
const NOWHERE = "127.0.0.1";
const PORT = 62299;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export const oneshot: Step = {
  name: "oneshot",
  measures: [
    "oneshot_ms_deno",
    "oneshot_ms_bun",
    "oneshot_ms_bun_without_bytecode",
    "oneshot_ms_bun_run",
    "oneshot_start_ms_deno",
    "oneshot_start_ms_bun",
    "oneshot_spawn_ms",
    "oneshot_bun_mb",
  ],
  peers: ["fwknop_oneshot_ms", "knock_oneshot_ms"],
  programs: ["deno"],
  inNamespaces: false,

  run(bench) {
    const { results, folder, quick } = bench;
    const profiles = join(folder, "profiles.yaml");
    const env = { ...process.env, KNOCK_PROFILES: profiles };
    const main = join(ROOT, "main.ts");
    must(["deno", "run", "-A", main, "import", "-", "--name", "home"], {
      env,
      input: enrolment(),
    });
    const knock = ["home", "--no-reply", "--quiet"];
    const contenders: Contender[] = [
      ["measures", "oneshot_ms_deno", ["deno", "run", "-A", main, ...knock]],
      ["measures", "oneshot_start_ms_deno", [
        "deno",
        "run",
        "-A",
        join(ROOT, "bench/nothing.ts"),
      ]],
      ["measures", "oneshot_spawn_ms", ["/bin/true"]],
    ];
    if (has("bun")) {
      const binary = shipped(folder);
      const text = compile(main, join(folder, "knock-text"));
      const nothing = compile(
        join(ROOT, "bench/nothing.ts"),
        join(folder, "nothing"),
      );
      results.measure("oneshot_bun_mb", statSync(binary).size / 1e6);
      contenders.push(
        ["measures", "oneshot_ms_bun", [binary, ...knock]],
        ["measures", "oneshot_ms_bun_without_bytecode", [text, ...knock]],
        ["measures", "oneshot_start_ms_bun", [nothing]],
        ["measures", "oneshot_ms_bun_run", ["bun", main, ...knock]],
      );
    }
    if (has("fwknop")) {
      // deno-fmt-ignore
      contenders.push(["peers", "fwknop_oneshot_ms", [
        "fwknop", "--no-save-args", "--no-rc-file", "-D", NOWHERE, "-a", NOWHERE,
        "-A", "tcp/22", "-p", String(PORT),
        "--key-base64-rijndael", key().toBase64(),
        "--use-hmac", "--key-base64-hmac", key().toBase64(),
      ]]);
    }
    if (has("/usr/bin/knock")) {
      // deno-fmt-ignore
      contenders.push(["peers", "knock_oneshot_ms", [
        "/usr/bin/knock", NOWHERE, "7000", "8000", "9000",
      ]]);
    }
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    for (const [name, all] of race(contenders, rounds, env)) {
      const [kind] = contenders.find((one) => one[1] === name)!;
      results.timings(kind, name, all);
    }
    return Promise.resolve();
  },
};

type Contender = readonly [
  kind: "measures" | "peers",
  name: string,
  argv: readonly string[],
];

/** Runs them in turn, so that what else the machine does hits all alike. */
function race(
  contenders: readonly Contender[],
  rounds: number,
  env: NodeJS.ProcessEnv,
): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (let round = -2; round < rounds; round++) {
    for (const [, name, argv] of contenders) {
      const start = performance.now();
      must(argv, { env });
      const ms = performance.now() - start;
      if (round >= 0) found.set(name, [...found.get(name) ?? [], ms]);
    }
  }
  return found;
}

function must(
  argv: readonly string[],
  options: { env: NodeJS.ProcessEnv; input?: string },
): void {
  const ran = spawnSync(argv[0]!, argv.slice(1), {
    ...options,
    cwd: "/",
    encoding: "utf8",
  });
  if (ran.status === 0) return;
  throw new Error(`${argv[0]}: ${ran.stderr || `ended ${ran.status}`}`);
}

/** The binary as it is released for this machine. */
function shipped(folder: string): string {
  const file = `knock-linux-${process.arch}`;
  const target = TARGETS.find((one) => one.file === file);
  if (!target) throw new Error(`no release for ${process.arch}`);
  new Compiler(ROOT, folder, "bun").compile(target);
  return join(folder, file);
}

function compile(
  entry: string,
  binary: string,
  ...options: string[]
): string {
  const ran = spawnSync(
    "bun",
    ["build", "--compile", "--minify", ...options, entry, "--outfile", binary],
    { cwd: ROOT, encoding: "utf8" },
  );
  if (ran.status !== 0) throw new Error(`bun build: ${ran.stderr}`);
  return binary;
}

function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

function enrolment(): string {
  return formatEnrolment({
    name: "home",
    host: NOWHERE,
    port: PORT,
    server: publicKeyOf(key()),
    key: key(),
    psk: key(),
  });
}

function key(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(32));
}
