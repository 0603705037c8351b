/**
 * Files in Deno: what every command reads, by Deno's own calls, which are
 * there from the start; all else by node:fs, and what goes wrong, too, for
 * its words.
 * @module
 */

import { files, MAX_FILE_SIZE } from "./files.ts";
import type { Files } from "./runtime.ts";

export const denoFiles: Files = {
  ...files,
  readText: (path) => new TextDecoder().decode(readBytes(path)),
  readBytes,
  stat: (path) => {
    try {
      const { isFile, isDirectory, size, mode, uid, gid } = Deno.statSync(path);
      const posix = Deno.build.os !== "windows";
      return {
        isFile,
        isFolder: isDirectory,
        size,
        mode: posix ? mode! & 0o7777 : null,
        owner: posix ? uid : null,
        group: posix ? gid : null,
      };
    } catch (error) {
      return error instanceof Deno.errors.NotFound ? null : files.stat(path);
    }
  },
};

function readBytes(path: string): Uint8Array<ArrayBuffer> {
  try {
    if (Deno.statSync(path).size <= MAX_FILE_SIZE) {
      return Deno.readFileSync(path);
    }
  } catch {
    // node:fs says why.
  }
  return files.readBytes(path);
}
