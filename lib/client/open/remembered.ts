/** Grants that this client remembers, and one knock for all who want the same at once. */

import { clientFile, folderOf } from "../../config/files/places.ts";
import { createOwn, makeOwnFolder } from "../../config/files/rights.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { OperatorError, orNull, SystemError } from "../../values/errors.ts";
import type { Outcome } from "../knock/outcome.ts";
import { forget, memoryName, recall, remember } from "../memory.ts";
import type { Profile } from "../profile/profile.ts";

/** Time before its end from which a grant is not relied on, milliseconds. */
const MARGIN_MS = 3000;

/** Interval of checks for another process's knock, and the longest wait for it, milliseconds. */
const LOOK_MS = 25;
const PATIENCE_MS = 15_000;

/** A TCP port that the server opened, as it is remembered. */
interface RememberedGrant {
  /** Unix milliseconds. */
  readonly untilMs: number;
  /** When it was given, Unix milliseconds. */
  readonly atMs: number;
}

/** The grant of a profile for a TCP port; null where there is none that lasts. */
export function recallGrant(
  runtime: Runtime,
  profile: Profile,
  port: number,
): RememberedGrant | null {
  const { untilMs, atMs } = recall(runtime, profile, kindOf(port)) ?? {};
  if (typeof untilMs !== "number" || typeof atMs !== "number") return null;
  const nowMs = runtime.nowMs();
  const lasts = atMs <= nowMs && nowMs < untilMs - MARGIN_MS;
  return lasts ? { untilMs, atMs } : null;
}

/** Remembers what a server granted; `seconds` is what was asked for. */
export function rememberGrant(
  runtime: Runtime,
  profile: Profile,
  port: number,
  outcome: Outcome,
  seconds: number,
): void {
  const answer = outcome.kind === "answered" ? outcome.answer : null;
  const granted = answer ? answer.seconds : seconds;
  const atMs = runtime.nowMs();
  const untilMs = atMs + granted * 1000;
  const address = answer?.address ?? null;
  remember(runtime, profile, kindOf(port), { address, atMs, untilMs });
}

/** Forgets a grant that turned out to be none. */
export function forgetGrant(
  runtime: Runtime,
  profile: Profile,
  port: number,
): void {
  forget(runtime, profile, kindOf(port));
}

/**
 * Works while no other process of this user does the same for this profile and
 * port, unless one of them is done meanwhile: `others` is asked for what it
 * left. Where there is no place for a lock it works at once.
 */
export async function once<T>(
  runtime: Runtime,
  profile: Profile,
  port: number,
  work: () => Promise<T>,
  others: () => Promise<T | null>,
): Promise<T> {
  const file = profile.remember
    ? clientFile(runtime, memoryName(profile, `${kindOf(port)}.lock`))
    : null;
  const endMs = runtime.monotonicMs() + PATIENCE_MS;
  while (file !== null && runtime.monotonicMs() < endMs) {
    const taken = take(runtime, file);
    if (taken === "impossible") break;
    if (taken === "ours") {
      try {
        return await others() ?? await work();
      } finally {
        release(runtime, file);
      }
    }
    await runtime.sleep(LOOK_MS);
    const left = await others();
    if (left !== null) return left;
  }
  return await work();
}

function take(
  runtime: Runtime,
  file: string,
): "ours" | "theirs" | "impossible" {
  try {
    makeOwnFolder(runtime, folderOf(runtime, file));
    const holder = `${runtime.pid} ${Math.floor(runtime.nowMs())}\n`;
    createOwn(runtime, file, holder);
    return "ours";
  } catch (error) {
    if (error instanceof OperatorError) return "impossible";
    if (!(error instanceof SystemError)) throw error;
    if (error.code !== "EEXIST") return "impossible";
  }
  if (!isAlive(runtime, file)) release(runtime, file);
  return "theirs";
}

/** True if the process that holds a lock is still running. */
function isAlive(runtime: Runtime, file: string): boolean {
  const holder = orNull(() => runtime.files.readText(file)) ?? "";
  const [pid, atMs] = holder.split(" ").map(Number);
  if (!pid || !atMs) return true; // it is just being written
  const ageMs = runtime.nowMs() - atMs;
  return Math.abs(ageMs) < PATIENCE_MS && runtime.signalProcess(pid, "test");
}

function release(runtime: Runtime, file: string): void {
  orNull(() => runtime.files.remove(file));
}

function kindOf(port: number): string {
  return `tcp-${port}`;
}
