/** The machine in words, without its name. */

import { cpus, release, totalmem } from "node:os";
import process from "node:process";

/** Processors, memory, kernel and runtime, as "2 × …, 24 GB, Linux 6.1, Deno 2.9.6". */
export function describeMachine(): string {
  const all = cpus();
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const kernel = release().split("-")[0];
  const runtime = "Deno" in globalThis
    ? `Deno ${process.versions["deno"]}`
    : `Bun ${process.versions["bun"]}`;
  return `${all.length} × ${all[0]?.model.trim() || "unknown processor"}, ` +
    `${gigabytes} GB, Linux ${kernel}, ${runtime}`;
}
