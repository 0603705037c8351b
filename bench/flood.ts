/** The flood: `flood.c`, compiled once and started in the client's namespace. */

import { spawnSync } from "node:child_process";
import { Buffer } from "node:buffer";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pass } from "../tests/netns/netns.ts";
import { KNOCK_HOST } from "./guarded.ts";
import type { Stage } from "./stage.ts";

const SOURCE = fileURLToPath(new URL("flood.c", import.meta.url));
/** Bytes of the junk: as long as a knock, so that nothing is told by length. */
const SIZE = 216;
/** Datagrams sent in turns, all of one size, from one address of the client's. */
export interface Forgery {
  readonly source: string;
  readonly packets: readonly Uint8Array[];
}

/** It runs so long before anything is measured under it. */
const SETTLE_MS = 500;

/** Figures of a flood. */
export interface Flooded {
  readonly sent: number;
  readonly perSecond: number;
}

/** Compiles the flood; throws when there is no compiler. */
export function compileFlood(folder: string): string {
  const binary = join(folder, "flood");
  if (existsSync(binary)) return binary;
  const argv = ["-O2", "-pthread", "-o", binary, SOURCE];
  const ran = spawnSync("gcc", argv, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(ran.stderr || "needs the program gcc");
  return binary;
}

/** Floods a UDP port of the server while some work is done; 0 a second is as many as there go. */
export async function withFlood<T>(
  stage: Stage,
  binary: string,
  { port, perSecond, forgery }: {
    readonly port: number;
    readonly perSecond: number;
    readonly forgery?: Forgery;
  },
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly flooded: Flooded }> {
  const pool = `${binary}.pool`;
  const packets = forgery?.packets ?? [];
  if (forgery) writeFileSync(pool, Buffer.concat(packets));
  const size = packets[0]?.length ?? SIZE;
  // deno-fmt-ignore
  const child = stage.pair.spawn(stage.pair.client, [
    binary, KNOCK_HOST, String(port), String(size), String(perSecond), "600",
    ...forgery ? [forgery.source, pool] : [],
  ]);
  let said = "";
  child.stdout!.on("data", (text) => said += text);
  const ended = new Promise((resolve) => child.once("close", resolve));
  await pass(SETTLE_MS);
  let result: T;
  try {
    result = await work();
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
  if (said === "") throw new Error("the flood ended without a word");
  return { result, flooded: JSON.parse(said) as Flooded };
}
