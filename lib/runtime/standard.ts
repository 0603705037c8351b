/** Standard input and output as one connection, and the question that hides its answer; loaded late. */

import process from "node:process";
import { calling, translatingAsync } from "./errors.ts";
import { fs } from "./files.ts";
import type { Runtime, Stream } from "./runtime.ts";
import { SystemError } from "../values/errors.ts";
import { isTerminal } from "./output.ts";

const STDOUT = 1;
const STDERR = 2;

/** Where Linux lists what this process has open. */
const OPEN_FILES = "/proc/self/fd";

/** For shutdown(2): nothing more is written. */
const SHUT_WR = 1;
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
  // A reader that went away is reported to the writer.
  stdout.on("error", () => {});
  return {
    peer: { host: "", port: 0 },
    read: () =>
      translatingAsync(async () => {
        const { done, value } = await input.next();
        return done ? null : value;
      }),
    write: (bytes) => calling((done) => void stdout.write(bytes, done)),
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

/** Bytes of keys that end a line or change it, in raw mode. */
const ENTER = [0x0d, 0x0a];
const ERASE = [0x08, 0x7f];
const INTERRUPT = 0x03;
const END = 0x04;

/** The exit status of a program that SIGINT ended. */
const INTERRUPTED = 130;

/** Printed behind a line that is not whole. */
const GO_ON = "\nit goes on: paste the rest, or press Enter: ";

/**
 * Asks on standard error, and reads what the terminal does not show: lines,
 * until together they are whole or one is empty. Null at the end of input, or
 * where there is no terminal. Ctrl-C ends the program, as it does elsewhere.
 */
export async function promptSecret(
  question: string,
  isWhole: (text: string) => boolean = () => true,
): Promise<string | null> {
  if (!isTerminal("in")) return null;
  const { stdin } = process;
  stdin.setRawMode(true);
  try {
    fs().writeSync(STDERR, `${question} `);
    const typed: number[] = [];
    return await new Promise((resolve) => {
      stdin.on("end", () => resolve(null));
      stdin.on("data", (chunk: Uint8Array) => {
        for (const byte of chunk) {
          if (ENTER.includes(byte)) {
            const text = new TextDecoder().decode(Uint8Array.from(typed));
            const isEmpty = /(^|\n)\s*$/.test(text);
            if (isEmpty || isWhole(text)) return resolve(text);
            typed.push(0x0a);
            fs().writeSync(STDERR, GO_ON);
            continue;
          }
          if (byte === END) return resolve(null);
          if (byte === INTERRUPT) {
            stdin.setRawMode(false);
            process.exit(INTERRUPTED);
          }
          if (ERASE.includes(byte)) typed.pop();
          else typed.push(byte);
        }
      });
    });
  } finally {
    stdin.setRawMode(false);
    stdin.removeAllListeners();
    stdin.pause();
    fs().writeSync(STDERR, "\n");
  }
}
