/** Folders of keys in a bucket: read whole, and watched. */

import type { Runtime } from "../../runtime/runtime.ts";
import type { WatchedFolder } from "../fleet.ts";
import {
  type EngineWatch,
  type Part,
  type Watched,
  watchFolders,
} from "../watch.ts";
import type { NatsCalls } from "./calls.ts";
import { consume } from "./consume.ts";
import { keyName } from "./wire.ts";

/** Life of a mark in the order of all writes, milliseconds. */
const MARK_LIVE_MS = 600_000;
/** Life of the word that a key was dropped, milliseconds: thirty days. */
export const DROPPED_LIVE_MS = 30 * 86_400_000;
/** A position that is older is not gone on from: such a word may be gone. */
const POSITION_LIVE_MS = 20 * 86_400_000;

/** The subject of a folder, whose name ends with "/", or of one key. */
function subjectOf({ subjects }: NatsCalls, name: string): string {
  return subjects +
    (name.endsWith("/") ? `${keyName(name.slice(0, -1))}.>` : keyName(name));
}

/**
 * Reads a folder whole, in batches; the last has the position of all. A key
 * is written first and read last: so the server that is read from, which may
 * lag behind, has all that was there at the beginning. Throws NatsError.
 */
export async function* wholeOf(
  calls: NatsCalls,
  runtime: Runtime,
  name: string,
  signal: AbortSignal = new AbortController().signal,
): AsyncIterable<Part> {
  const key = `marks/${runtime.random(12).toHex()}`;
  const mark = { key, value: "", liveMs: MARK_LIVE_MS };
  const { connection, revision } = await calls.call(
    async (connection, timeoutMs) => ({
      connection,
      revision: await calls.write(connection, mark, timeoutMs),
    }),
    { makes: true },
  );
  const batches = consume(
    calls,
    runtime,
    connection,
    [subjectOf(calls, name), subjectOf(calls, key)],
    { deliver_policy: "last_per_subject" },
    signal,
  );
  for await (const batch of batches) {
    const changes = batch.filter((one) =>
      one.value !== null && one.key !== key
    );
    const isWhole = batch.some((one) => one.key === key);
    const position = isWhole ? positionAt(runtime, revision) : null;
    yield { changes, position };
    if (isWhole) return;
  }
}

/** A position: a revision, and when it was seen. */
function positionAt(runtime: Runtime, revision: number): string {
  return `${revision} ${runtime.nowMs()}`;
}

/** Reads a position; 0 for what it has not. */
function readPosition(position: string | null) {
  const [revision = 0, seenMs = 0] = position?.split(" ").map(Number) ?? [];
  return { revision, seenMs };
}

/** Watches folders by one consumer. */
export function watchNats(
  calls: NatsCalls,
  runtime: Runtime,
  folders: readonly WatchedFolder[],
): EngineWatch {
  const isGood = (position: string | null) => {
    const { revision, seenMs } = readPosition(position);
    return revision > 0 && runtime.nowMs() - seenMs < POSITION_LIVE_MS;
  };
  return watchFolders(
    runtime,
    {
      // Whether the data is that of the positions shows when it answers.
      look: () =>
        calls.call((connection, ms) => calls.look(connection, ms), {
          makes: true,
        }),
      whole: (name, signal) => wholeOf(calls, runtime, name, signal),
      follow: (watched, signal) => follow(calls, runtime, watched, signal),
      turn: () => calls.turn(),
    },
    folders.map((folder) => ({
      ...folder,
      position: isGood(folder.position) ? folder.position : null,
    })),
  );
}

async function follow(
  calls: NatsCalls,
  runtime: Runtime,
  watched: readonly Watched[],
  signal: AbortSignal,
): Promise<void> {
  const positions = watched.map(({ position }) =>
    readPosition(position).revision
  );
  if (signal.aborted || positions.includes(0)) return;
  const connection = await calls.call((connection) =>
    Promise.resolve(connection)
  );
  const batches = consume(
    calls,
    runtime,
    connection,
    watched.map(({ name }) => subjectOf(calls, name)),
    {
      deliver_policy: "by_start_sequence",
      opt_start_seq: Math.min(...positions) + 1,
    },
    signal,
  );
  for await (const batch of batches) {
    if (signal.aborted) return;
    const last = batch.at(-1)!.revision;
    for (const one of watched) {
      const { name, reader } = one;
      const { revision: told } = readPosition(one.position);
      if (told === 0 || told >= last) continue;
      const changes = batch.filter(({ key, revision }) =>
        revision > told &&
        (name.endsWith("/") ? key.startsWith(name) : key === name)
      );
      // All come in one order: of none there is an older one to come.
      const next = positionAt(runtime, last);
      if (changes.length > 0) reader.changed(changes, next);
      // Not before it is taken: else it is told again.
      one.position = next;
    }
  }
}
