/**
 * The way through for ssh's ProxyCommand: a connection, after a knock if need be.
 * Grants are remembered, and one knock is for all who want the same at once.
 * @module
 */

import { folderOf } from "../../config/files/places.ts";
import { createOwn, makeOwnFolder } from "../../config/files/rights.ts";
import type { Runtime, Stream } from "../../runtime/runtime.ts";
import { parseAddress } from "../../values/address.ts";
import {
  OperatorError,
  orNull,
  SystemError,
  UsageError,
} from "../../values/errors.ts";
import type { KnockOptions, UnaddressedRequest } from "../knock/knock.ts";
import { forget, memoryFile, recall, remember } from "../memory.ts";
import type { Profile } from "../profile/profile.ts";
import { type AttemptTarget, connectOnce, knockAndConnect } from "./opening.ts";

/** Longest wait for a port that should be open already, milliseconds. */
const REMEMBERED_WAIT_MS = 1000;

/** Time before its end from which a grant is not relied on, milliseconds. */
const MARGIN_MS = 3000;

/** Interval of checks for another process's knock, and the longest wait for it, milliseconds. */
const LOOK_MS = 25;
const PATIENCE_MS = 15_000;

/**
 * Connects to a TCP port of a profile's server. Where a grant is remembered it
 * connects at once, and knocks if that fails; several at a time knock once.
 */
export async function connectThrough(
  runtime: Runtime,
  profile: Profile,
  request: UnaddressedRequest,
  options: KnockOptions,
  target: AttemptTarget,
): Promise<Stream> {
  const { port, address } = target;
  const kind = `tcp-${port}`;
  const startMs = runtime.nowMs();
  let tried = -Infinity;
  const remembered = async () => {
    const atMs = recallGrant(runtime, profile, kind);
    // What did not let this connection in is not tried twice.
    if (atMs === null || atMs <= tried) return null;
    tried = atMs;
    const { host } = profile.server;
    // The knock reports a name that does not resolve.
    const addresses = address === null
      ? await orNull(() => runtime.resolve(host))
      : [address];
    if (!addresses?.length) return null;
    const waitMs = REMEMBERED_WAIT_MS;
    const connected = await connectOnce(runtime, addresses, port, waitMs);
    return connected.ok ? connected.stream : null;
  };
  const open = async () => {
    // Not one that another process got in the meantime.
    if (tried < startMs) forget(runtime, profile, kind);
    const { knocked: { outcome }, stream } = await knockAndConnect(
      runtime,
      profile,
      request,
      options,
      target,
    );
    const answer = outcome.kind === "answered" ? outcome.answer : null;
    const atMs = runtime.nowMs();
    const untilMs = atMs + (answer ?? request).seconds * 1000;
    const grant = { address: answer?.address ?? null, atMs, untilMs };
    remember(runtime, profile, kind, grant);
    return stream;
  };
  return await remembered() ??
    await once(runtime, profile, `${kind}.lock`, open, remembered);
}

/**
 * The address that a proxy's HOST means: null where it is the profile's server
 * itself. Throws UsageError when it is another host.
 */
export async function targetAddress(
  runtime: Runtime,
  profile: Profile,
  host: string,
): Promise<string | null> {
  const own = profile.server.host;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const address = parseAddress(bare);
  if (bare.toLowerCase() === own.toLowerCase()) return null;
  if (address !== null && address === parseAddress(own)) return null;
  if (address !== null) {
    const known = await orNull(() => runtime.resolve(own));
    if (known?.includes(address)) return address;
  }
  throw new UsageError(
    `HOST must be the server of profile "${profile.name}", "${own}" or an ` +
      `address of it, got "${host}"`,
    `in ~/.ssh/config write: HostName ${own}`,
  );
}

/** When the grant of a kind was given, Unix milliseconds; null where none lasts. */
function recallGrant(
  runtime: Runtime,
  profile: Profile,
  kind: string,
): number | null {
  const { untilMs, atMs } = recall(runtime, profile, kind) ?? {};
  if (typeof untilMs !== "number" || typeof atMs !== "number") return null;
  const nowMs = runtime.nowMs();
  const lasts = atMs <= nowMs && nowMs < untilMs - MARGIN_MS;
  return lasts ? atMs : null;
}

/**
 * Works while no other process of this user has the lock, unless one of them is
 * done meanwhile: `others` is asked for what it left. Where there is no place
 * for a lock it works at once.
 */
async function once<T>(
  runtime: Runtime,
  profile: Profile,
  lock: string,
  work: () => Promise<T>,
  others: () => Promise<T | null>,
): Promise<T> {
  const file = memoryFile(runtime, profile, lock);
  const endMs = runtime.monotonicMs() + PATIENCE_MS;
  while (file !== null && runtime.monotonicMs() < endMs) {
    const taken = take(runtime, file);
    if (taken === "impossible") break;
    if (taken === "ours") {
      try {
        return await others() ?? await work();
      } finally {
        orNull(() => runtime.files.remove(file));
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
  if (!isAlive(runtime, file)) orNull(() => runtime.files.remove(file));
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
