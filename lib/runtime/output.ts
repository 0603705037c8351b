/** Standard streams: a log that waits for no reader, and if one is a terminal. */

import type { Stats } from "node:fs";
import process from "node:process";
import { systemError } from "./errors.ts";
import { fs } from "./files.ts";
import type { LogPipe } from "./runtime.ts";

/** Characters that may wait; a pipe of Linux holds 65,536 bytes besides. */
const MAX_WAITING = 262_144;
/** A pipe that is full and does not let wait is tried again after so long. */
const PAUSE_MS = 10;

/**
 * A log that delays nothing: writes in the background, one write at a time,
 * in order; lines wait for their reader up to a limit.
 */
export class LogQueue implements LogPipe {
  readonly #writeSome: (bytes: Uint8Array) => Promise<number>;
  #waiting: string[] = [];
  #size = 0;
  #writing: Promise<void> | null = null;

  /** `writeSome` hands bytes to the system, without blocking the loop; how many it took. */
  constructor(writeSome: (bytes: Uint8Array) => Promise<number>) {
    this.#writeSome = writeSome;
  }

  /** True if some text is not written yet. */
  get isBusy(): boolean {
    return this.#writing !== null;
  }

  write(text: string): boolean {
    if (text === "") return true;
    if (this.#size + text.length > MAX_WAITING) return false;
    this.#waiting.push(text);
    this.#size += text.length;
    this.#writing ??= this.#writeAll();
    return true;
  }

  async flush(limitMs: number): Promise<void> {
    if (!this.#writing) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, limitMs);
    await Promise.race([this.#writing, late.promise]);
    clearTimeout(timer);
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const text = this.#waiting.join("");
      this.#waiting = [];
      let rest: Uint8Array = new TextEncoder().encode(text);
      while (rest.length > 0) {
        try {
          rest = rest.subarray(await this.#writeSome(rest));
        } catch (error) {
          // A reader that went away is no reason to fail.
          if (systemError(error).code !== "EAGAIN") break;
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
      }
      this.#size -= text.length;
    }
    this.#writing = null;
  }
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
