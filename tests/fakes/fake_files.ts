/** Files in memory, with modes and owners, for tests. Paths use "/". */

import type { FileInfo, Files, Place, Way } from "../../lib/runtime/runtime.ts";
import { SystemError } from "../../lib/values/errors.ts";

interface Entry {
  /** Null for a folder. */
  bytes: Uint8Array<ArrayBuffer> | null;
  mode: number;
  owner: number;
  group: number;
}

const encoder = new TextEncoder();

/**
 * Files in memory. `failing` makes every use of a path fail with a code, such
 * as "EACCES"; `failingWrites` only the writes, such as "ENOSPC".
 */
export class FakeFiles implements Files {
  readonly failing = new Map<string, string>();
  readonly failingWrites = new Map<string, string>();
  readonly #entries = new Map<string, Entry>();
  readonly #owner: number;
  #temporaries = 0;

  constructor(owner: number) {
    this.#owner = owner;
    this.makeFolder("/tmp", 0o1777);
  }

  /** Puts a file in place for a test, with the folders above it. */
  put(path: string, data: string | Uint8Array, mode = 0o600, owner?: number) {
    this.makeFolder(parent(path), 0o755);
    this.#write(path, data, mode, owner ?? this.#owner);
  }

  /** Changes the mode of what is at this path. */
  chmod(path: string, mode: number): void {
    this.#at(path).mode = mode;
  }

  /** Changes the owner of what is at this path, and the group. */
  chown(path: string, owner: number, group = owner): void {
    Object.assign(this.#at(path), { owner, group });
  }

  /** The paths of all files, sorted; folders are left out. */
  paths(): string[] {
    return [...this.#entries].filter(([, { bytes }]) => bytes)
      .map(([path]) => path).sort();
  }

  readText(path: string): string {
    return new TextDecoder().decode(this.readBytes(path));
  }

  readBytes(path: string): Uint8Array<ArrayBuffer> {
    const { bytes } = this.#at(path);
    if (!bytes) throw new SystemError("EISDIR", "is a folder");
    return bytes.slice();
  }

  replace(
    path: string,
    data: string | Uint8Array,
    mode: number,
    group?: number,
  ): void {
    const old = this.#entries.get(path);
    const owner = old?.owner ?? this.#owner;
    const kept = group === undefined ? old?.mode : undefined;
    this.#write(path, data, kept ?? mode, owner, group ?? old?.group);
  }

  create(
    path: string,
    data: string | Uint8Array,
    mode: number,
    group?: number,
  ): void {
    if (this.stat(path)) throw new SystemError("EEXIST", "file exists");
    this.#write(path, data, mode, this.#owner, group);
  }

  way(path: string): Way {
    const places: Place[] = [];
    for (let at = clean(path);; at = parent(at)) {
      const info = this.stat(at);
      if (info) places.unshift({ ...info, path: at, isLink: false });
      if (at === "/") return { places, isWhole: this.stat(path) !== null };
    }
  }

  stat(path: string): FileInfo | null {
    this.#check(path);
    const entry = this.#entries.get(clean(path));
    if (!entry) return null;
    const { bytes, mode, owner, group } = entry;
    return {
      isFile: bytes !== null,
      isFolder: bytes === null,
      size: bytes?.length ?? 0,
      mode,
      owner,
      group,
    };
  }

  list(path: string): string[] {
    if (this.#at(path).bytes) throw new SystemError("ENOTDIR", "not a folder");
    return [...this.#entries.keys()]
      .filter((other) => other !== "/" && parent(other) === clean(path))
      .map((other) => other.slice(other.lastIndexOf("/") + 1)).sort();
  }

  makeFolder(path: string, mode: number, group = this.#owner): void {
    path = clean(path);
    this.#check(path, true);
    const entry = this.#entries.get(path);
    if (entry?.bytes) throw new SystemError("ENOTDIR", "not a folder");
    if (entry) return;
    if (path !== "/") this.makeFolder(parent(path), mode);
    const owner = this.#owner;
    this.#entries.set(path, { bytes: null, mode, owner, group });
  }

  remove(path: string): void {
    if (!this.#at(path).bytes) throw new SystemError("EISDIR", "is a folder");
    this.#check(path, true);
    this.#entries.delete(clean(path));
  }

  makeTemporaryFolder(): string {
    const path = `/tmp/knock-${++this.#temporaries}`;
    this.makeFolder(path, 0o700);
    return path;
  }

  removeFolder(path: string): void {
    this.#at(path);
    for (const other of [...this.#entries.keys()]) {
      if (`${other}/`.startsWith(`${clean(path)}/`)) {
        this.#entries.delete(other);
      }
    }
  }

  #write(
    path: string,
    data: string | Uint8Array,
    mode: number,
    owner: number,
    group = owner,
  ): void {
    path = clean(path);
    this.#check(path, true);
    if (!this.#entries.has(parent(path))) {
      throw new SystemError("ENOENT", "no such folder");
    }
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    this.#entries.set(path, { bytes: bytes.slice(), mode, owner, group });
  }

  #at(path: string): Entry {
    this.#check(path);
    const entry = this.#entries.get(clean(path));
    if (!entry) throw new SystemError("ENOENT", "no such file or folder");
    return entry;
  }

  #check(path: string, writing = false): void {
    const code = this.failing.get(clean(path)) ??
      (writing ? this.failingWrites.get(clean(path)) : undefined);
    if (code) throw new SystemError(code, `made to fail with ${code}`);
  }
}

function clean(path: string): string {
  return path === "/" ? path : path.replace(/\/+$/, "").replace(/\/+/g, "/");
}

function parent(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0)) || "/";
}
