/** A folder of keys in etcd: read in pages, and watched. */

import type { Runtime } from "../../runtime/runtime.ts";
import { SystemError } from "../../values/errors.ts";
import type { WatchedFolder } from "../fleet.ts";
import {
  type EngineWatch,
  type Part,
  type Watched,
  watchFolders,
} from "../watch.ts";
import type { EtcdCalls } from "./calls.ts";
import { type EtcdAnswer, pairsOf, type RawPair, textOf } from "./wire.ts";

/** Keys that are read at once; fewer where their values are too big together. */
const PAGE = 2000;
/** Value that stands for one that is too big to read. */
const TOO_BIG = "";

/** Reads a folder in pages, all of one revision. Throws SystemError. */
export async function* pagesOf(
  calls: EtcdCalls,
  prefix: string,
  name: string,
): AsyncIterable<Part> {
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
      const isTooBig = error instanceof SystemError && error.code === "EFBIG";
      if (!isTooBig) throw error;
      if (limit > 1) {
        limit = Math.max(1, Math.floor(limit / 20));
        continue;
      }
      answer = await read(1, true);
      isBig = true;
    }
    const pairs = pairsOf(answer);
    yield {
      position: revision!,
      changes: pairs.map(({ key, value }) => ({
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

/** Watches folders by one request. */
export function watchEtcd(
  calls: EtcdCalls,
  runtime: Runtime,
  prefix: string,
  folders: readonly WatchedFolder[],
): EngineWatch {
  const turn = () => calls.turn();
  return watchFolders(
    runtime,
    {
      whole: (name) => pagesOf(calls, prefix, name),
      follow: (watched, signal) => follow(calls, prefix, watched, signal),
      turn,
      failed: turn,
    },
    folders.map((folder) => ({
      ...folder,
      // One of another engine is none.
      position: /^\d+$/.test(folder.position ?? "") ? folder.position : null,
    })),
  );
}

async function follow(
  calls: EtcdCalls,
  prefix: string,
  watched: readonly Watched[],
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const requests = watched.map(({ name, position }) => ({
    create_request: {
      ...rangeOf(prefix + name),
      start_revision: String(BigInt(position ?? "0") + 1n),
    },
  }));
  for await (const message of calls.stream(requests, signal)) {
    if (signal.aborted) return;
    // Too long to be read: nobody knows of which.
    if (!message) {
      for (const one of watched) one.position = null;
      return;
    }
    // etcd counts them in the order of the requests.
    const one = watched[Number(message.watch_id ?? 0)];
    if (!one) continue;
    if (message.compact_revision !== undefined) {
      one.position = null;
      return;
    }
    if (!message.events) continue;
    const events = message.events as {
      readonly type?: string;
      readonly kv: RawPair;
    }[];
    const next: string | null = message.header?.revision ?? one.position;
    one.reader.changed(
      events.map(({ type, kv }) => ({
        key: textOf(kv.key).slice(prefix.length),
        value: type === "DELETE" ? null : textOf(kv.value),
      })),
      next,
    );
    // Not before it is taken: else it is told again.
    one.position = next;
  }
}

/** The keys of a folder, whose name ends with "/", or one key, as a request names them. */
export function rangeOf(name: string): { key: string; range_end: string } {
  const end = name.endsWith("/") ? `${name.slice(0, -1)}0` : `${name}\0`;
  return { key: btoa(name), range_end: btoa(end) };
}
