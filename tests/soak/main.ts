/**
 * `deno task soak [--seconds N]`: the whole program on a real kernel, in
 * namespaces of its own, under knocks, copies, junk, reloads and restarts.
 * Every few seconds each grant in the kernel is compared with the record, and
 * memory and descriptors are noted. Ends with 1 if anything is wrong, or
 * grows. Needs root on Linux.
 */

import { assert, assertEquals } from "@std/assert";
import { parseArgs } from "@std/cli/parse-args";
import { readdirSync } from "node:fs";
import process from "node:process";
import { ALICE, Stage } from "../faults/stage.ts";
import { Pair, pass, whyNot } from "../netns/netns.ts";
import { Program } from "../netns/program.ts";

const ROUND_MS = 3000;
/** Between four knocks and the next: a source may knock 20 times a second. */
const BETWEEN_MS = 250;
/** Every so many rounds. */
const RELOAD_EVERY = 4;
const RESTART_EVERY = 10;
/** Of these ports each knock opens one, for a time that ends during the soak. */
const FIRST_PORT = 20_000;
const PORTS = 3000;
const SECONDS = 20;
/** Largest growth of memory from the first half to the second. */
const GROWTH = 1.25;

const options = parseArgs(process.argv.slice(2), { string: ["seconds"] });
const seconds = Number(options.seconds ?? 600);

interface Sample {
  readonly memoryMb: number;
  readonly descriptors: number;
  readonly open: number;
}

function random(size: number): string {
  return crypto.getRandomValues(new Uint8Array(size)).toHex();
}

let port = 0;

async function load(stage: Stage, endMs: number) {
  const count = { done: 0, failed: 0, refused: 0, silent: 0 };
  const sent: string[] = [];
  while (Date.now() < endMs) {
    const knocked = await Promise.all(
      Array.from({ length: 4 }, () =>
        stage.knock({
          action: "open",
          ports: [`tcp/${FIRST_PORT + port++ % PORTS}`],
          seconds: SECONDS,
        })),
    );
    for (const { status, packet } of knocked) {
      count[status ?? "silent"]++;
      sent.push(packet);
    }
    const bad = sent.at(-1)!;
    // A copy, a forgery under the right tag, and junk.
    await stage.send([
      sent[Math.floor(Math.random() * sent.length)]!,
      bad.slice(0, 16) + random(208),
      bad.slice(0, -2) + random(1),
      random(1 + Math.floor(Math.random() * 1400)),
    ], 4);
    await pass(BETWEEN_MS);
  }
  return { ...count, packets: sent.length };
}

async function soak(stage: Stage): Promise<void> {
  const { program } = stage;
  const total = { done: 0, failed: 0, refused: 0, silent: 0, packets: 0 };
  const samples: Sample[] = [];
  let restarts = 0, reloads = 0;
  await program.serve();
  const endMs = Date.now() + seconds * 1000;
  for (let round = 1; Date.now() < endMs; round++) {
    const counted = await load(stage, Date.now() + ROUND_MS);
    for (const key of Object.keys(total) as (keyof typeof total)[]) {
      total[key] += counted[key];
    }
    if (round % RELOAD_EVERY === 0) {
      const from = program.log.length;
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
      reloads++;
    }
    // What ends is swept once a second.
    const open = await settle(stage);
    samples.push({
      memoryMb: Math.round(stage.memoryMb()),
      descriptors: readdirSync(`/proc/${program.pid}/fd`).length,
      open,
    });
    if (round % RESTART_EVERY === 0) {
      await program.signal(restarts++ % 2 === 0 ? "SIGTERM" : "SIGKILL");
      await program.serve();
    }
  }
  const [opened] = stage.query<{ times: number }>(
    "select count(*) as times from history where event = 'open'",
  );
  stage.sound();
  process.stdout.write(
    JSON.stringify({
      seconds,
      ...total,
      restarts,
      reloads,
      memoryMb: samples.map(({ memoryMb }) => memoryMb),
      descriptors: samples.map(({ descriptors }) => descriptors),
      open: samples.map(({ open }) => open),
    }) + "\n",
  );
  // Each packet once, however often it came; an answer may have got lost.
  const times = opened!.times - total.done;
  assert(times >= 0 && times <= total.silent, `${times} more were opened`);
  assertEquals([total.failed, total.refused], [0, 0]);
  assert(total.silent * 100 <= total.packets, `${total.silent} in silence`);
  const half = samples.length >> 1;
  for (const what of ["memoryMb", "descriptors"] as const) {
    const early = Math.max(...samples.slice(0, half).map((one) => one[what]));
    const late = Math.max(...samples.slice(half).map((one) => one[what]));
    assert(late <= early * GROWTH + 2, `${what} grew from ${early} to ${late}`);
  }
}

/** Waits for a moment in which no grant is just ending. */
async function settle(stage: Stage): Promise<number> {
  for (let tries = 0; tries < 20; tries++) {
    try {
      return await stage.agree();
    } catch {
      await pass(100);
    }
  }
  return await stage.agree();
}

const reason = whyNot();
if (reason !== null) {
  process.stderr.write(`knock: error: the soak ${reason}\n`);
  process.exit(1);
}
const pair = new Pair();
const program = new Program(pair);
let status = 0;
try {
  await pair.make();
  const stage = new Stage(pair, program);
  stage.configure([ALICE]);
  await soak(stage);
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`);
  status = 1;
} finally {
  await pair.remove();
  program.remove();
}
process.exit(status);
