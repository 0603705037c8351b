/** Standard input and output as a connection, by node: modules in Deno and Bun. */

import process from "node:process";
import { systemError, translatingAsync } from "./errors.ts";
import { fs } from "./late.ts";
import { type Runtime, type Stream, SystemError } from "./runtime.ts";

const STDOUT = 1;
const STDERR = 2;

/** Where Linux lists what this process has open. */
const OPEN_FILES = "/proc/self/fd";

/** For shutdown(2): nothing more is written. */
const SHUT_WR = 1;
/** For open(2). */
const O_WRONLY = 1;

const LIBC = {
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
} as const;

/** This process's standard input and output, as one connection. */
export function standardStream(openLibrary: Runtime["openLibrary"]): Stream {
  const { stdin, stdout } = process;
  const input = stdin[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  // A reader that went away is told to the one who writes.
  stdout.on("error", () => {});
  return {
    peer: { host: "", port: 0 },
    read: () =>
      translatingAsync(async () => {
        const { done, value } = await input.next();
        return done ? null : value;
      }),
    write: (bytes) =>
      new Promise((resolve, reject) =>
        stdout.write(
          bytes,
          (error) => error ? reject(systemError(error)) : resolve(),
        )
      ),
    finish: () => translatingAsync(() => finishOutput(openLibrary)),
    close: () => void stdin.destroy(),
  };
}

/**
 * Ends standard output while the process goes on. Neither runtime can: they
 * keep copies of the descriptor. So all that lead to the same pipe are made to
 * lead nowhere.
 */
async function finishOutput(
  openLibrary: Runtime["openLibrary"],
): Promise<void> {
  const libc = await openLibrary("libc.so.6", LIBC);
  if (!libc) throw new SystemError("ENOTSUP", "cannot end standard output");
  if (libc.call("shutdown", STDOUT, SHUT_WR) === 0) return; // a socket
  const target = fs().readlinkSync(`${OPEN_FILES}/${STDOUT}`);
  if (!target.startsWith("pipe:")) return;
  const path = new TextEncoder().encode("/dev/null\0");
  const nowhere = libc.call("open", path, O_WRONLY) as number;
  for (const name of fs().readdirSync(OPEN_FILES)) {
    const fd = Number(name);
    if (fd !== STDERR && readLink(fd) === target) {
      libc.call("dup2", nowhere, fd);
    }
  }
}

function readLink(fd: number): string | null {
  try {
    return fs().readlinkSync(`${OPEN_FILES}/${fd}`);
  } catch {
    return null; // the listing's own descriptor
  }
}
