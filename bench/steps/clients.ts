/** A gateway with clients of a fleet, which are in its file: its start, its memory, and packets of theirs. */

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFleetDatabase } from "../../lib/server/state/fleet_file.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { residentMb } from "../guarded.ts";
import { script } from "../stage.ts";
import type { Step } from "../step.ts";
import { scriptCommand } from "../../tests/netns/netns.ts";
import { runtime } from "../../tests/fakes/runtime.ts";

const COUNTS = { "10": 10, "10k": 10_000, "1m": 1_000_000 } as const;
const QUICK_COUNT = 1000;

/** Clients of the dialects of other tools, among which a packet's is searched or, in OpenSPA, looked up. */
const SEARCHED = [
  ["openme", { "10": 10, "1k": 1000, "10k": 10_000 }],
  ["fwknop", { "10": 10, "1k": 1000, "10k": 10_000, "100k": 100_000 }],
  ["openspa", { "10": 10, "10k": 10_000 }],
] as const;

export const clients: Step = {
  name: "clients",
  measures: [
    ...Object.keys(COUNTS).flatMap((name) => [
      `clients_${name}_rss_mb`,
      `clients_${name}_start_s`,
      `clients_${name}_opened_per_s`,
    ]),
    ...SEARCHED.flatMap(([dialect, counts]) =>
      Object.keys(counts).flatMap((name) => [
        `clients_${dialect}_${name}_stranger_ms`,
        `clients_${dialect}_${name}_late_ms`,
      ])
    ),
  ],
  peers: [],
  programs: [],
  inNamespaces: false,

  async run({ results, quick, folder }) {
    for (const [name, count] of Object.entries(COUNTS)) {
      const own = join(folder, `clients-${name}`);
      const config = writeGateway(own);
      // Its file is of this fleet from then on: another's clients are forgotten.
      await startGateway(config);
      const filled = quick ? Math.min(count, QUICK_COUNT) : count;
      const { opened_per_s: rate } = runScript(
        ...["shared_clients.ts", join(own, "state"), `${filled}`],
      );
      results.measure(`clients_${name}_opened_per_s`, rate!);
      const { seconds, megabytes } = await startGateway(config);
      const kept = await countClients(join(own, "state"));
      if (kept !== filled) throw new Error(`${kept} clients of ${filled}`);
      results.measure(`clients_${name}_start_s`, seconds);
      results.measure(`clients_${name}_rss_mb`, megabytes);
    }
    for (const [dialect, counts] of SEARCHED) {
      for (const [name, count] of Object.entries(counts)) {
        const own = join(folder, `clients-${dialect}-${name}`);
        mkdirSync(own);
        const filled = quick ? Math.min(count, QUICK_COUNT) : count;
        const { stranger_ms, late_ms } = runScript(
          ...["searched_clients.ts", own, dialect, `${filled}`],
        );
        const measure = `clients_${dialect}_${name}`;
        results.measure(`${measure}_stranger_ms`, stranger_ms!);
        results.measure(`${measure}_late_ms`, late_ms!);
      }
    }
  },
};

/** Runs a script of the bench; the figures that it prints. */
function runScript(...words: string[]): Record<string, number> {
  const [program, ...args] = script(...words as [string]);
  const ran = spawnSync(program!, args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return JSON.parse(ran.stdout);
}

/** Counts the clients in a gateway's file. */
async function countClients(folder: string): Promise<number> {
  const database = await openFleetDatabase(runtime, folder);
  const { n } = database.prepare("select count(*) as n from clients").get()!;
  database.close();
  return Number(n);
}

/** Writes the configuration of a gateway whose engine does not answer: a warm start needs none. */
function writeGateway(folder: string): string {
  mkdirSync(join(folder, "state"), { recursive: true, mode: 0o700 });
  const write = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const key = () =>
    `${formatBase64url(crypto.getRandomValues(new Uint8Array(32)))}\n`;
  write("server.key", key());
  write("fleet.secret", key());
  return write(
    "server.yaml",
    `key: server.key
state: state
listen: ["127.0.0.1:62298"]
firewall: { backend: gate }
services: {}
fleet:
  engine: etcd
  servers: ["http://127.0.0.1:1"]
  name: gw1
  prefix: knock/bench
  secret: fleet.secret
clients: {}
`,
  );
}

async function startGateway(
  config: string,
): Promise<{ seconds: number; megabytes: number }> {
  const [program, ...args] = scriptCommand(
    "../../main.ts",
    ...["serve", "--config", config],
  );
  const startMs = performance.now();
  const child = spawn(program!, args, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    let said = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr!.on("data", (text) => {
        said += text;
        if (said.includes("listens on")) resolve();
      });
      child.once("close", () => reject(new Error(said)));
    });
    const seconds = (performance.now() - startMs) / 1000;
    return { seconds, megabytes: residentMb(child.pid!) };
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}
