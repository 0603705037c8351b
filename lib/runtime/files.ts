/** Files by node:fs and databases by node:sqlite, the same in Deno and Bun. */

import type { Stats } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import process from "node:process";
import { translating } from "./errors.ts";
import type { Database, Files, Place, SqlRow, Way } from "./runtime.ts";
import { SystemError } from "../values/errors.ts";

/** Largest file read whole, in bytes: no file of ours comes near. */
export const MAX_FILE_SIZE = 64 * 1024 * 1024;

/** O_PATH of Linux, for open(2): enough to name what is in a folder. */
const O_PATH = 0o10000000;

/** Links on the way to one file, as of the kernel; more are a circle. */
const MAX_LINKS = 40;

const posix = process.platform !== "win32";

export const files: Files = {
  readText: (path) => new TextDecoder().decode(read(path)),
  readBytes: (path) => read(path),
  replace,
  create: (path, data, mode, group) =>
    inFolder(path, (at, name) => write(at(name), data, { mode, group })),
  stat: (path) =>
    translating(() => {
      const stat = fs().statSync(path, { throwIfNoEntry: false });
      return stat ? infoOf(stat) : null;
    }),
  way: (path) => translating(() => posix ? wayTo(path) : NO_WAY),
  list: (path) => translating(() => fs().readdirSync(path).sort()),
  makeFolder: (path, mode, group) =>
    translating(() => {
      const first = fs().mkdirSync(path, { recursive: true, mode });
      if (first === undefined || group === undefined) return;
      fs().lchownSync(path, process.geteuid!(), group);
      fs().chmodSync(path, mode);
    }),
  remove: (path) => inFolder(path, (at, name) => fs().unlinkSync(at(name))),
  makeTemporaryFolder: () =>
    translating(() => fs().mkdtempSync(join(os().tmpdir(), "knock-"))),
  removeFolder: (path) =>
    translating(() => fs().rmSync(path, { recursive: true, force: true })),
};

function read(path: string): Uint8Array<ArrayBuffer> {
  return translating(() => {
    if (fs().statSync(path).size > MAX_FILE_SIZE) {
      throw Object.assign(new Error("file too large"), { code: "EFBIG" });
    }
    return new Uint8Array(fs().readFileSync(path));
  });
}

function infoOf(stat: Stats) {
  return {
    isFile: stat.isFile(),
    isFolder: stat.isDirectory(),
    size: stat.size,
    mode: posix ? stat.mode & 0o7777 : null,
    owner: posix ? stat.uid : null,
    group: posix ? stat.gid : null,
  };
}

/**
 * Calls with paths into the folder that a path names now: whoever puts another
 * folder or a link in its place meanwhile changes nothing.
 */
function inFolder(
  path: string,
  act: (at: (name: string) => string, name: string) => void,
): void {
  const folder = dirname(path);
  const name = basename(path);
  translating(() => {
    if (process.platform !== "linux") {
      return act((name) => join(folder, name), name);
    }
    const fd = fs().openSync(folder, O_PATH | fs().constants.O_DIRECTORY);
    try {
      const held = `/proc/self/fd/${fd}`;
      // Without /proc, or with Deno's permissions, which leave it out.
      const base = exists(`${held}/.`) ? held : folder;
      act((name) => `${base}/${name}`, name);
    } finally {
      fs().closeSync(fd);
    }
  });
}

function exists(path: string): boolean {
  try {
    return fs().existsSync(path);
  } catch {
    return false;
  }
}

/** Writes a file that is not there yet. */
function write(
  path: string,
  data: string | Uint8Array,
  { mode, owner, group }: {
    readonly mode: number;
    readonly owner?: number | undefined;
    readonly group?: number | undefined;
  },
): void {
  // O_CREAT with O_EXCL follows no link.
  const fd = fs().openSync(path, "wx", 0o600 & mode);
  try {
    fs().writeFileSync(fd, data);
    if (posix) {
      const stat = fs().fstatSync(fd);
      const to = [owner ?? stat.uid, group ?? stat.gid] as const;
      if (to[0] !== stat.uid || to[1] !== stat.gid) fs().fchownSync(fd, ...to);
      // After the owner: a group is let in when it is the right one.
      fs().fchmodSync(fd, mode);
    }
    fs().fsyncSync(fd);
  } catch (error) {
    fs().rmSync(path, { force: true });
    throw error;
  } finally {
    fs().closeSync(fd);
  }
}

function replace(
  path: string,
  data: string | Uint8Array,
  mode: number,
  group?: number,
): void {
  inFolder(path, (at, name) => {
    const old = fs().lstatSync(at(name), { throwIfNoEntry: false });
    if (old?.isSymbolicLink()) {
      throw new SystemError(
        "ELOOP",
        "is a link: name the file that it leads to",
      );
    }
    if (old && !old.isFile()) throw new SystemError("EINVAL", "is not a file");
    const random = crypto.getRandomValues(new Uint32Array(2)).join("-");
    const fresh = at(`.${name}.${random}.new`);
    write(fresh, data, {
      mode: old && group === undefined ? old.mode & 0o777 : mode,
      owner: old?.uid,
      group: group ?? old?.gid,
    });
    try {
      fs().renameSync(fresh, at(name));
    } catch (error) {
      fs().rmSync(fresh, { force: true });
      throw error;
    }
  });
}

const NO_WAY: Way = { places: [], isWhole: true };

/** Where the kernel's own links lead, such as those of open pipes in /proc. */
const NOWHERE = /^\w+:\[?/;

function wayTo(path: string): Way {
  const places: Place[] = [];
  const names = resolve(path).split("/");
  let folder = "/";
  let links = 0;
  while (names.length > 0) {
    const name = names.shift()!;
    const next = join(folder, name);
    const stat = fs().lstatSync(next, { throwIfNoEntry: false });
    if (!stat) return { places, isWhole: false };
    const isLink = stat.isSymbolicLink();
    places.push({ ...infoOf(stat), path: next, isLink });
    if (!isLink) {
      folder = next;
      continue;
    }
    if (++links > MAX_LINKS) {
      throw new SystemError("ELOOP", "too many symbolic links encountered");
    }
    const target = fs().readlinkSync(next);
    if (NOWHERE.test(target)) break;
    names.unshift(...target.split("/").filter((part) => part !== ""));
    if (isAbsolute(target)) folder = "/";
  }
  return { places, isWhole: true };
}

/** Longest time that a statement waits for another process's lock. */
const BUSY_TIMEOUT_MS = 2000;

/** Opens a database file, making it 0600 first where there is none. */
export async function openDatabase(path: string): Promise<Database> {
  // Loaded late: the client never needs it, and starts quicker without.
  const { DatabaseSync } = await import("node:sqlite");
  return translating(() => {
    // A link is not followed: SQLite would write where it leads.
    const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = fs().constants;
    fs().closeSync(fs().openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600));
    const database = new DatabaseSync(path);
    database.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return {
      exec: (sql) => translating(() => database.exec(sql)),
      prepare: (sql) => {
        const statement = translating(() => database.prepare(sql));
        return {
          run: (...values) =>
            translating(() => Number(statement.run(...values).changes)),
          get: (...values) =>
            translating(() => statement.get(...values) as SqlRow | undefined),
          all: (...values) =>
            translating(() => statement.all(...values) as SqlRow[]),
        };
      },
      close: () => translating(() => database.close()),
    };
  });
}

/** node:fs. Loading it and node:os takes a client under Deno a tenth of its time. */
export function fs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

/** node:os, loaded when it is used. */
export function os(): typeof import("node:os") {
  return process.getBuiltinModule("node:os");
}
