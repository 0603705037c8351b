/** A log that nobody waits for: lines wait for their reader, up to a limit. */

import { systemError } from "./errors.ts";
import type { LogPipe } from "./runtime.ts";

/** Characters that may wait; a pipe of Linux holds 65,536 bytes besides. */
const MAX_WAITING = 262_144;
/** A pipe that is full and does not let wait is tried again after so long. */
const PAUSE_MS = 10;

/** Writes to a stream in the background, one write at a time, in order. */
export class LogQueue implements LogPipe {
  readonly #writeSome: (bytes: Uint8Array) => Promise<number>;
  #waiting: string[] = [];
  #size = 0;
  #writing: Promise<void> | null = null;

  /** `writeSome` hands bytes to the system, without blocking the loop; how many it took. */
  constructor(writeSome: (bytes: Uint8Array) => Promise<number>) {
    this.#writeSome = writeSome;
  }

  /** Whether something is not written yet. */
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
