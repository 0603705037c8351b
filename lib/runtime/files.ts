/** Files by node:fs, the same in Deno and Bun. */

import { basename, dirname, join } from "node:path";
import process from "node:process";
import { translating } from "./errors.ts";
import { fs, os } from "./late.ts";
import type { Files } from "./runtime.ts";

/** Largest file read whole, in bytes: no file of ours comes near. */
export const MAX_FILE_SIZE = 64 * 1024 * 1024;

export const files: Files = {
  readText: (path) => new TextDecoder().decode(read(path)),
  readBytes: (path) => read(path),
  replace: (path, data, mode) => translating(() => replace(path, data, mode)),
  create: (path, data, mode) =>
    translating(() => {
      const fd = fs().openSync(path, "wx", mode);
      try {
        fs().writeFileSync(fd, data);
        fs().fsyncSync(fd);
      } catch (error) {
        fs().rmSync(path, { force: true });
        throw error;
      } finally {
        fs().closeSync(fd);
      }
    }),
  stat: (path) =>
    translating(() => {
      const stat = fs().statSync(path, { throwIfNoEntry: false });
      if (!stat) return null;
      const posix = process.platform !== "win32";
      return {
        isFile: stat.isFile(),
        isFolder: stat.isDirectory(),
        size: stat.size,
        mode: posix ? stat.mode & 0o7777 : null,
        owner: posix ? stat.uid : null,
      };
    }),
  list: (path) => translating(() => fs().readdirSync(path).sort()),
  makeFolder: (path, mode) =>
    translating(() => void fs().mkdirSync(path, { recursive: true, mode })),
  remove: (path) => translating(() => fs().rmSync(path)),
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

function replace(path: string, data: string | Uint8Array, mode: number): void {
  // A link stays a link: what it leads to is replaced.
  const target = fs().existsSync(path) ? fs().realpathSync(path) : path;
  const old = fs().statSync(target, { throwIfNoEntry: false });
  const fresh = join(
    dirname(target),
    `.${basename(target)}.${process.pid}.new`,
  );
  try {
    const fd = fs().openSync(fresh, "wx", old ? old.mode & 0o7777 : mode);
    try {
      fs().writeFileSync(fd, data);
      if (old) fs().fchownSync(fd, old.uid, old.gid);
      fs().fsyncSync(fd);
    } finally {
      fs().closeSync(fd);
    }
    fs().renameSync(fresh, target);
  } catch (error) {
    fs().rmSync(fresh, { force: true });
    throw error;
  }
}
