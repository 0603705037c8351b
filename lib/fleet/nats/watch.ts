/** Folders of keys in a bucket: read whole, and watched. */

import type { Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import type { FolderReader, FolderWatch, WatchedFolder } from "../fleet.ts";
import type { NatsCalls } from "./calls.ts";
import { consume, type Revised } from "./consume.ts";
import { keyName, natsError } from "./wire.ts";

/** Pause before a watch that broke goes on, doubled up to the longest, milliseconds. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3000;
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
): AsyncIterable<{
  readonly changes: readonly Revised[];
  readonly position: number | null;
}> {
  const key = `marks/${runtime.random(12).toHex()}`;
  const mark = { key, value: "", liveMs: MARK_LIVE_MS };
  const { connection, position } = await calls.call(
    async (connection, timeoutMs) => ({
      connection,
      position: await calls.write(connection, mark, timeoutMs),
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
    yield { changes, position: isWhole ? position : null };
    if (isWhole) return;
  }
}

/** A folder that is watched. */
interface Watched {
  readonly name: string;
  readonly reader: FolderReader;
  /** Revision up to which all is told; null when all has to be read again. */
  position: number | null;
}

/** A watch of folders by one consumer, which goes on until it is stopped. */
export class NatsWatch implements FolderWatch {
  readonly #calls: NatsCalls;
  readonly #runtime: Runtime;
  readonly #watched: readonly Watched[];
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  /** Ends the consumer that is read. */
  #current = new AbortController();

  constructor(
    calls: NatsCalls,
    runtime: Runtime,
    folders: readonly WatchedFolder[],
  ) {
    this.#calls = calls;
    this.#runtime = runtime;
    this.#watched = folders.map(({ name, position, reader }) => ({
      name,
      reader,
      position: this.#read(position),
    }));
    this.#running = this.#run();
  }

  again(): void {
    this.#calls.turn();
    this.#current.abort();
  }

  /** Reads all again: the data is other data. */
  restart(): void {
    for (const one of this.#watched) one.position = null;
    this.#current.abort();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#current.abort();
    await this.#running;
  }

  /** Positions are a revision, and when it was seen. */
  #read(position: string | null): number | null {
    const [revision, seenMs] = (position ?? "").split(" ").map(Number);
    const ageMs = this.#runtime.nowMs() - (seenMs ?? 0);
    return revision && ageMs < POSITION_LIVE_MS ? revision : null;
  }

  #write(revision: number): string {
    return `${revision} ${this.#runtime.nowMs()}`;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      this.#current = new AbortController();
      try {
        // Whether the data is that of the positions shows when it answers.
        await this.#calls.call(
          (connection, timeoutMs) => this.#calls.look(connection, timeoutMs),
          { makes: true },
        );
        for (const one of this.#watched) {
          if (one.position === null) await this.#readAll(one);
        }
        if (await this.#follow()) pauseMs = FIRST_PAUSE_MS;
      } catch (thrown) {
        const error = thrown instanceof SystemError
          ? thrown
          : natsError(thrown);
        for (const { reader } of this.#watched) reader.lost(error.message);
      }
      await this.#runtime.sleep(pauseMs, signal);
      pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
    }
  }

  async #readAll(one: Watched): Promise<void> {
    const { signal } = this.#current;
    if (signal.aborted) return;
    const { name, reader } = one;
    reader.begin();
    for await (
      const whole of wholeOf(this.#calls, this.#runtime, name, signal)
    ) {
      if (signal.aborted) return;
      reader.changed(whole.changes, null);
      if (whole.position === null) continue;
      one.position = whole.position;
      reader.end(this.#write(whole.position));
    }
  }

  /** Tells what changes after the positions, until all is to be read from elsewhere; true if anything came. */
  async #follow(): Promise<boolean> {
    const { signal } = this.#current;
    let came = false;
    const positions = this.#watched.map(({ position }) => position ?? 0);
    if (signal.aborted || positions.includes(0)) return came;
    const connection = await this.#calls.call((connection) =>
      Promise.resolve(connection)
    );
    const batches = consume(
      this.#calls,
      this.#runtime,
      connection,
      this.#watched.map(({ name }) => subjectOf(this.#calls, name)),
      {
        deliver_policy: "by_start_sequence",
        opt_start_seq: Math.min(...positions) + 1,
      },
      signal,
    );
    for await (const batch of batches) {
      if (signal.aborted) return came;
      came = true;
      const last = batch.at(-1)!.revision;
      for (const one of this.#watched) {
        const { name, reader, position } = one;
        if (position === null || position >= last) continue;
        const changes = batch.filter(({ key, revision }) =>
          revision > position &&
          (name.endsWith("/") ? key.startsWith(name) : key === name)
        );
        // All come in one order: of none there is an older one to come.
        one.position = last;
        if (changes.length > 0) reader.changed(changes, this.#write(last));
      }
    }
    return came;
  }
}
