/** An engine in memory for unit tests of fleets: linear, watched, and broken by hand. */

import type {
  Claim,
  EngineMark,
  FleetEngine,
  FolderWatch,
  KeyValue,
  WatchedFolder,
} from "../../lib/fleet/fleet.ts";
import { SystemError } from "../../lib/values/errors.ts";

/** The data that several engines share. */
export class FakeCluster {
  readonly keys = new Map<string, string>();
  readonly engines = new Set<FakeEngine>();
  revision = 1;
  id = "first";
  /** True from the start on: no answer has come yet, to any gateway. */
  isSilent = false;

  set(key: string, value: string | null): void {
    this.revision++;
    if (value === null) this.keys.delete(key);
    else this.keys.set(key, value);
    for (const engine of this.engines) engine.tell(key, value);
  }

  /** Loses all data, as an engine that was emptied. */
  empty(): void {
    this.keys.clear();
    this.revision = 1;
    this.id += "'";
    for (const engine of this.engines) engine.replace();
  }
}

const silentWatch: FolderWatch = {
  again: () => {},
  stop: () => Promise.resolve(),
};

/** One gateway's way to a cluster. */
export class FakeEngine implements FleetEngine {
  readonly name = "etcd";
  readonly #cluster: FakeCluster;
  readonly #replaced: () => void;
  #watched: readonly WatchedFolder[] = [];
  /** True while nothing answers. */
  isDown = false;
  aheadMs = 0;
  /** Life of the last claim, milliseconds. */
  claimedFor = 0;

  constructor(cluster: FakeCluster, replaced: () => void) {
    this.#cluster = cluster;
    this.#replaced = replaced;
    cluster.engines.add(this);
  }

  get mark(): EngineMark {
    const { id, revision } = this.#cluster;
    return { id, revision };
  }

  // deno-lint-ignore require-await -- as the real one
  async claim(key: string, value: string, liveMs: number): Promise<Claim> {
    this.claimedFor = liveMs;
    if (this.isDown || this.#cluster.isSilent) {
      return { state: "unknown", why: "no answer in time" };
    }
    const holder = this.#cluster.keys.get(key);
    if (holder !== undefined && holder !== value) {
      return { state: "taken", holder };
    }
    this.#cluster.set(key, value);
    return { state: "ours" };
  }

  // deno-lint-ignore require-await -- as the real one
  async put(key: string, value: string): Promise<void> {
    this.#check();
    this.#cluster.set(key, value);
  }

  beat(key: string, value: string): Promise<void> {
    if (this.#cluster.isSilent) return new Promise(() => {});
    return this.put(key, value);
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

  tell(key: string, value: string | null): void {
    if (this.isDown) return;
    const { revision } = this.#cluster;
    for (const { name, reader } of this.#watched) {
      const isIn = name.endsWith("/") ? key.startsWith(name) : key === name;
      if (isIn) reader.changed([{ key, value }], String(revision));
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
