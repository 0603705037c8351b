/** An engine in memory for unit tests of fleets: linear, watched, and broken by hand. */

import type {
  Along,
  Claim,
  EngineSeen,
  FleetEngine,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../../lib/fleet/fleet.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** The data that several engines share. */
export class FakeCluster {
  readonly keys = new Map<string, string>();
  /** In which each key was set. */
  readonly revisions = new Map<string, number>();
  readonly engines = new Set<FakeEngine>();
  /** Keys that were written, in order. */
  readonly writes: string[] = [];
  revision = 1;
  id = "first";
  /** True from the start on: no answer has come yet, to any gateway. */
  isSilent = false;

  set(key: string, value: string | null): void {
    this.write([{ key, value }]);
  }

  /** Sets keys in one write, which is told as one. */
  write(changes: readonly KeyValue[]): void {
    this.revision++;
    for (const { key, value } of changes) {
      this.writes.push(key);
      this.revisions.set(key, this.revision);
      if (value === null) this.keys.delete(key);
      else this.keys.set(key, value);
    }
    for (const engine of this.engines) engine.tell(changes);
  }

  /** Loses all data, as an engine that was emptied. */
  empty(): void {
    this.keys.clear();
    this.revisions.clear();
    this.revision = 1;
    this.id += "'";
    for (const engine of this.engines) engine.replace();
  }
}

const silentWatch: FolderWatch = {
  again: () => {},
  stop: () => Promise.resolve(),
};

export const UNKNOWN: Claim = { state: "unknown", why: "no answer in time" };

/** One gateway's way to a cluster. */
export class FakeEngine implements FleetEngine {
  readonly name = "etcd";
  readonly #cluster: FakeCluster;
  readonly #replaced: () => void;
  #watched: readonly WatchedFolder[] = [];
  /** News that a reader could not take. */
  readonly #again: (() => void)[] = [];
  /** True while nothing answers. */
  isDown = false;
  readonly seen: EngineSeen & { aheadMs: number };
  /** Life of the last claim, milliseconds. */
  claimedFor = 0;
  /** True for an engine that sets nothing along with a claim. */
  isAlone = false;
  /** News that the watch has not brought yet; null where it brings all at once. */
  late: (() => void)[] | null = null;
  /** Has a claim carried out, and answered: it may come late, and the answer be lost. */
  deliver = (carryOut: () => Claim): Claim | Promise<Claim> => carryOut();
  /** The last heartbeat: its key, and its revision. */
  #fence: readonly [key: string, revision: number] | null = null;

  constructor(cluster: FakeCluster, replaced: () => void) {
    this.#cluster = cluster;
    this.#replaced = replaced;
    cluster.engines.add(this);
    this.seen = {
      aheadMs: 0,
      get mark() {
        return { id: cluster.id, revision: cluster.revision };
      },
    };
  }

  async claim(
    key: string,
    value: string,
    liveMs: number,
    along: Along | null = null,
  ): Promise<Claim> {
    this.claimedFor = liveMs;
    if (this.isDown || this.#cluster.isSilent) return UNKNOWN;
    const fence = this.#fence;
    return await this.deliver(() => {
      const { keys, revisions } = this.#cluster;
      const holder = keys.get(key);
      if (holder !== undefined && holder !== value) {
        return { state: "taken", holder };
      }
      const isSet = along !== null && !this.isAlone && fence !== null &&
        revisions.get(fence[0]) === fence[1];
      this.#cluster.write([{ key, value }, ...isSet ? along.pairs : []]);
      return { state: "ours", along: isSet };
    });
  }

  // deno-lint-ignore require-await -- as the real one
  async put(
    key: string,
    value: string,
    _liveMs?: number | null,
    onlyIfThere = false,
  ): Promise<void> {
    this.#check();
    if (onlyIfThere && !this.#cluster.keys.has(key)) return;
    this.#cluster.set(key, value);
  }

  async beat(key: string, value: string): Promise<void> {
    if (this.#cluster.isSilent) await new Promise(() => {});
    await this.put(key, value);
    this.#fence = [key, this.#cluster.revision];
  }

  // deno-lint-ignore require-await -- as the real one
  async drop(key: string): Promise<boolean> {
    this.#check();
    const was = this.#cluster.keys.has(key);
    if (was) this.#cluster.set(key, null);
    return was;
  }

  // deno-lint-ignore require-await -- as the real one
  async get(key: string): Promise<string | null> {
    this.#check();
    return this.#cluster.keys.get(key) ?? null;
  }

  async *list(folder: string): AsyncIterable<readonly KeyValue[]> {
    this.#check();
    yield await Promise.resolve(this.#in(folder));
  }

  watch(folders: readonly WatchedFolder[]): FolderWatch {
    this.#watched = folders;
    if (this.#cluster.isSilent) return silentWatch;
    // From a position on, what was there before is not told again.
    this.#readAll(folders.filter(({ position }) => position === null));
    return {
      again: () => {},
      stop: () => {
        this.#watched = [];
        return Promise.resolve();
      },
    };
  }

  /** Tells all again, as after a time without the engine. */
  catchUp(): void {
    this.#readAll();
  }

  tell(changes: readonly KeyValue[]): void {
    if (this.isDown) return;
    const { revision } = this.#cluster;
    for (const { name, reader } of this.#watched) {
      const told = changes.filter(({ key }) =>
        name.endsWith("/") ? key.startsWith(name) : key === name
      );
      const tell = () =>
        this.#tell(() => reader.changed(told, String(revision)));
      if (told.length === 0) continue;
      if (this.late) this.late.push(tell);
      else tell();
    }
  }

  /** Tells news, after those that a reader could not take. */
  #tell(news: () => void): void {
    const all = [...this.#again.splice(0), news];
    try {
      for (let one = all.at(0); one; one = all.at(0)) {
        one();
        all.shift();
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#again.push(...all);
    }
  }

  replace(): void {
    this.#replaced();
    this.#readAll();
  }

  health() {
    return Promise.resolve({ servers: [], warnings: [] });
  }

  close(): Promise<void> {
    this.#cluster.engines.delete(this);
    return Promise.resolve();
  }

  #in(folder: string): KeyValue[] {
    return [...this.#cluster.keys]
      .filter(([key]) => key.startsWith(folder))
      .map(([key, value]) => ({ key, value }));
  }

  #readAll(folders = this.#watched): void {
    for (const { name, reader } of folders) {
      reader.begin();
      reader.changed(this.#in(name), null);
      reader.end(String(this.#cluster.revision));
    }
  }

  #check(): void {
    if (this.isDown) throw new SystemError("ETIMEDOUT", "no answer in time");
  }
}
