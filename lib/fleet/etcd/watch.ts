/** A folder of keys in etcd: read in pages, and watched. */

import type { Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import type {
  FolderReader,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../fleet.ts";
import type { EtcdCalls } from "./calls.ts";
import { type EtcdAnswer, pairsOf, type RawPair, textOf } from "./wire.ts";

/** Keys that are read at once; fewer where their values are too big together. */
const PAGE = 2000;
/** Pause before a watch that broke goes on, doubled up to the longest, milliseconds. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3000;

/** Value that stands for one that is too big to read. */
const TOO_BIG = "";

/** A folder's keys, with the prefix. */
interface Folder {
  readonly prefix: string;
  /** Ends with "/". */
  readonly name: string;
}

/** Part of a folder, and the revision of all of it. */
interface Page {
  readonly pairs: readonly KeyValue[];
  readonly revision: string;
}

/** Reads a folder in pages, all of one revision. Throws SystemError. */
export async function* pagesOf(
  calls: EtcdCalls,
  { prefix, name }: Folder,
): AsyncIterable<Page> {
  const { range_end, ...first } = rangeOf(prefix + name);
  let { key } = first;
  let revision: string | undefined;
  let limit = PAGE;
  const read = async (limit: number, keys_only = false) => {
    const answer = await calls.call("kv/range", {
      ...{ key, range_end, limit: String(limit), keys_only },
      ...(revision !== undefined && { revision }),
    });
    revision ??= answer.header?.revision ?? "0";
    return answer;
  };
  while (true) {
    let answer: EtcdAnswer;
    let isBig = false;
    try {
      answer = await read(limit);
    } catch (error) {
      if (!isTooBig(error)) throw error;
      if (limit > 1) {
        limit = Math.max(1, Math.floor(limit / 20));
        continue;
      }
      answer = await read(1, true);
      isBig = true;
    }
    const pairs = pairsOf(answer);
    yield {
      revision: revision!,
      pairs: pairs.map(({ key, value }) => ({
        key: textOf(key).slice(prefix.length),
        value: isBig ? TOO_BIG : textOf(value),
      })),
    };
    if (isBig) limit = PAGE;
    if (answer.more !== true || pairs.length === 0) return;
    // The first key behind it.
    key = btoa(`${atob(pairs.at(-1)!.key)}\0`);
  }
}

/** A folder that is watched. */
interface Watched {
  readonly folder: Folder;
  readonly reader: FolderReader;
  /** Revision up to which all is told; null when all has to be read again. */
  position: string | null;
}

/** A watch of folders by one request, which goes on until it is stopped. */
export class EtcdWatch implements FolderWatch {
  readonly #calls: EtcdCalls;
  readonly #runtime: Runtime;
  readonly #watched: readonly Watched[];
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  /** Ends the request that is read. */
  #current = new AbortController();

  constructor(
    calls: EtcdCalls,
    runtime: Runtime,
    prefix: string,
    folders: readonly WatchedFolder[],
  ) {
    this.#calls = calls;
    this.#runtime = runtime;
    this.#watched = folders.map(({ name, position, reader }) => ({
      folder: { prefix, name },
      reader,
      // One of another engine is none.
      position: /^\d+$/.test(position ?? "") ? position : null,
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

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      this.#current = new AbortController();
      try {
        for (const one of this.#watched) {
          if (one.position === null) await this.#readAll(one);
        }
        if (await this.#follow()) pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        for (const { reader } of this.#watched) reader.lost(error.message);
        this.#calls.turn();
      }
      await this.#runtime.sleep(pauseMs, signal);
      pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
    }
  }

  async #readAll(one: Watched): Promise<void> {
    const { signal } = this.#current;
    if (signal.aborted) return;
    one.reader.begin();
    let position = "0";
    for await (const page of pagesOf(this.#calls, one.folder)) {
      if (signal.aborted) return;
      position = page.revision;
      one.reader.changed(page.pairs, null);
    }
    if (signal.aborted) return;
    one.position = position;
    one.reader.end(position);
  }

  /**
   * Tells what changes after the positions, until one is to be read anew, or
   * all from elsewhere; true if anything came.
   */
  async #follow(): Promise<boolean> {
    const { signal } = this.#current;
    let came = false;
    if (signal.aborted) return came;
    const requests = this.#watched.map(({ folder, position }) => ({
      create_request: {
        ...rangeOf(folder.prefix + folder.name),
        start_revision: String(BigInt(position ?? "0") + 1n),
      },
    }));
    for await (const message of this.#calls.stream(requests, signal)) {
      if (signal.aborted) return came;
      came = true;
      // Too long to be read: nobody knows of which.
      if (!message) {
        for (const one of this.#watched) one.position = null;
        return came;
      }
      // etcd counts them in the order of the requests.
      const one = this.#watched[Number(message.watch_id ?? 0)];
      if (!one) continue;
      if (message.compact_revision !== undefined) {
        one.position = null;
        return came;
      }
      if (!message.events) continue;
      const events = message.events as {
        readonly type?: string;
        readonly kv: RawPair;
      }[];
      const next: string | null = message.header?.revision ?? one.position;
      one.position = next;
      one.reader.changed(
        events.map(({ type, kv }) => ({
          key: textOf(kv.key).slice(one.folder.prefix.length),
          value: type === "DELETE" ? null : textOf(kv.value),
        })),
        next,
      );
    }
    return came;
  }
}

/** The keys of a folder, whose name ends with "/", or one key, as a request names them. */
export function rangeOf(name: string): { key: string; range_end: string } {
  const end = name.endsWith("/") ? `${name.slice(0, -1)}0` : `${name}\0`;
  return { key: btoa(name), range_end: btoa(end) };
}

function isTooBig(error: unknown): boolean {
  return error instanceof SystemError && error.code === "EFBIG";
}
