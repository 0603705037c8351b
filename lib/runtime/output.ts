/** Standard streams: a log that waits for no reader, and if one is a terminal. */

import type { Stats } from "node:fs";
import process from "node:process";
import { systemError } from "./errors.ts";
import { fs } from "./files.ts";
import type { LogPipe, Runtime } from "./runtime.ts";
import { FailureError, type SystemError } from "../values/errors.ts";
import { escapeLines } from "../values/text.ts";

/** Characters that may wait; a pipe of Linux holds 65,536 bytes besides. */
const MAX_WAITING = 262_144;
/** A pipe that is full and does not let wait is tried again after so long. */
const PAUSE_MS = 10;

/** Writers of the standard streams; each writes as much as it can, and returns the number of bytes. */
interface Writing {
  out(bytes: Uint8Array): number;
  err(bytes: Uint8Array): number;
  /** Writes to standard error without blocking the loop. */
  log(bytes: Uint8Array): Promise<number>;
}

/** Standard output and standard error, for commands and for the log. */
export function standardOutput(
  writing: Writing,
): Pick<Runtime, "out" | "err" | "paint" | "log"> {
  const log = logQueue(writing.log);
  const paint = (stream: "out" | "err", text: string) => {
    // Behind a log without a reader it would wait for ever.
    if (stream === "err" && log.isBusy()) return log.write(text);
    const failure = writeAll(writing[stream], text);
    if (failure === null || stream === "err") return failure === null;
    if (failure.code === "EPIPE") return false;
    throw new FailureError(`cannot write to stdout: ${failure.message}`);
  };
  return {
    out: (text) => paint("out", escapeLines(text)),
    err: (text) => paint("err", escapeLines(text)),
    paint,
    log,
  };
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Writes a text, and waits for a slow reader; the system's refusal, if it refuses. */
function writeAll(
  write: (bytes: Uint8Array) => number,
  text: string,
): SystemError | null {
  let rest: Uint8Array = new TextEncoder().encode(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(write(rest));
    } catch (error) {
      const failure = systemError(error);
      if (failure.code !== "EAGAIN") return failure;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
  return null;
}

/**
 * A log that delays nothing: writes in the background, one write at a time,
 * in order; lines wait for their reader up to a limit. `writeSome` hands bytes
 * to the system, without blocking the loop; how many it took.
 */
export function logQueue(
  writeSome: (bytes: Uint8Array) => Promise<number>,
): LogPipe & { isBusy(): boolean } {
  let waiting: string[] = [];
  let size = 0;
  let writing: Promise<void> | null = null;

  const writeOn = async () => {
    while (waiting.length > 0) {
      const text = waiting.join("");
      waiting = [];
      let rest: Uint8Array = new TextEncoder().encode(text);
      while (rest.length > 0) {
        try {
          rest = rest.subarray(await writeSome(rest));
        } catch (error) {
          // A reader that went away is no reason to fail.
          if (systemError(error).code !== "EAGAIN") break;
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
      }
      size -= text.length;
    }
    writing = null;
  };
  return {
    isBusy: () => writing !== null,
    write: (text) => {
      if (text === "") return true;
      if (size + text.length > MAX_WAITING) return false;
      waiting.push(text);
      size += text.length;
      writing ??= writeOn();
      return true;
    },
    flush: async (limitMs) => {
      if (!writing) return;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, limitMs);
      await Promise.race([writing, late.promise]);
      clearTimeout(timer);
    },
  };
}

/** The numbers of the standard streams. */
const FILES = { in: 0, out: 1, err: 2 } as const;

/**
 * True if a standard stream is a terminal. node:tty knows, but loading it takes
 * Bun as long as a whole knock: what the file says goes first.
 */
export function isTerminal(stream: keyof typeof FILES): boolean {
  const file = FILES[stream];
  return lookAt(file) ?? process.getBuiltinModule("node:tty").isatty(file);
}

/** Null where the file has no answer. */
function lookAt(file: number): boolean | null {
  if (process.platform === "win32") return null;
  let stats: Stats;
  try {
    stats = fs().fstatSync(file);
  } catch {
    return false; // closed
  }
  if (!stats.isCharacterDevice()) return false;
  if (process.platform !== "linux") return null;
  // Linux, Documentation/admin-guide/devices.txt: memory and its like, such
  // as /dev/null; then consoles and serial lines; then pseudo-terminals.
  const major = stats.rdev >>> 8 & 0xfff;
  if (major === 1) return false;
  return major === 4 || major === 5 || major >= 136 && major <= 143
    ? true
    : null;
}
