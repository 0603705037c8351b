/** A watch that goes on until it is stopped, whichever engine it reads. */

import type { Runtime } from "../runtime/runtime.ts";
import { SystemError } from "../values/errors.ts";
import type { FolderWatch, KeyValue, WatchedFolder } from "./fleet.ts";

/** Pause before a watch that broke goes on, doubled up to the longest, milliseconds; after one that lasted longer it is the first again. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3000;

/** Keys of a folder that is read whole. */
export interface Part {
  readonly changes: readonly KeyValue[];
  /** Position of all of it; null where more is to come. */
  readonly position: string | null;
}

/** A folder that is watched. */
export interface Watched extends Omit<WatchedFolder, "position"> {
  /** Up to where all is told; null when all has to be read again. */
  position: string | null;
}

/** Reads an engine. Methods throw SystemError. */
interface Source {
  /** Looks at the data before anything is read of it. */
  look?(): Promise<unknown>;
  /** Reads a folder whole. */
  whole(name: string, signal: AbortSignal): AsyncIterable<Part>;
  /**
   * Tells what changes after the positions, until one is to be read anew, or
   * all from elsewhere.
   */
  follow(folders: readonly Watched[], signal: AbortSignal): Promise<void>;
  /** Goes on with the next server. */
  turn(): void;
  /** Goes on after a failure. */
  failed?(): void;
}

/** A watch of an engine whose data may become other data. */
export interface EngineWatch extends FolderWatch {
  /** Reads all again: the data is other data. */
  restart(): void;
}

/** Begins to watch folders, from positions of this engine on. */
export function watchFolders(
  runtime: Runtime,
  source: Source,
  watched: readonly Watched[],
): EngineWatch {
  const ending = new AbortController();
  /** Ends what is read. */
  let current = new AbortController();
  const readAll = async (one: Watched, signal: AbortSignal) => {
    if (signal.aborted) return;
    const { name, reader } = one;
    reader.begin();
    let whole: string | null = null;
    for await (const { changes, position } of source.whole(name, signal)) {
      if (signal.aborted) return;
      reader.changed(changes, null);
      whole = position;
    }
    if (signal.aborted || whole === null) return;
    reader.end(whole);
    one.position = whole;
  };
  const run = async () => {
    let pauseMs = FIRST_PAUSE_MS;
    while (!ending.signal.aborted) {
      current = new AbortController();
      const { signal } = current;
      const beganMs = runtime.monotonicMs();
      try {
        await source.look?.();
        for (const one of watched) {
          if (one.position === null) await readAll(one, signal);
        }
        await source.follow(watched, signal);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        for (const { reader } of watched) reader.lost(error.message);
        source.failed?.();
      }
      const lastedMs = runtime.monotonicMs() - beganMs;
      if (lastedMs > LONGEST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
      await runtime.sleep(pauseMs, ending.signal);
      pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
    }
  };
  const running = run();
  return {
    again() {
      source.turn();
      current.abort();
    },
    restart() {
      for (const one of watched) one.position = null;
      current.abort();
    },
    async stop() {
      ending.abort();
      current.abort();
      await running;
    },
  };
}
