/** Progress of something slow: one line, on a terminal alone. */

import type { Runtime, Stoppable } from "../../runtime/runtime.ts";
import { escapeUnsafe, type Paint } from "../../values/text.ts";
import { paintFor } from "../command.ts";

/** Silence at first, and the interval at which the line is painted after that. */
const QUIET_MS = 500;
const PAINT_MS = 250;

const CLEAR_LINE = "\r\x1b[K";

/** A line on standard error that goes away again; nothing where that is no terminal. */
export class Progress {
  readonly #runtime: Runtime;
  readonly #startMs: number;
  readonly #paintText: Paint;
  readonly #timer: Stoppable | null = null;
  #text: string;
  #painted = false;

  constructor(runtime: Runtime, text: string, quiet = false) {
    this.#runtime = runtime;
    this.#text = text;
    this.#startMs = runtime.monotonicMs();
    this.#paintText = paintFor(runtime, "err");
    if (quiet || !runtime.isTerminal("err")) return;
    this.#timer = runtime.every(PAINT_MS, () => this.#paint());
  }

  /** Says something else from now on. */
  show(text: string): void {
    this.#text = text;
  }

  /** Clears the line. */
  end(): void {
    this.#timer?.stop();
    if (this.#painted) this.#runtime.paint("err", CLEAR_LINE);
    this.#painted = false;
  }

  #paint(): void {
    const elapsedMs = this.#runtime.monotonicMs() - this.#startMs;
    if (elapsedMs < QUIET_MS) return;
    this.#painted = true;
    const seconds = `${Math.floor(elapsedMs / 1000)} s`;
    const room = this.#runtime.columns() - seconds.length - 2;
    const text = escapeUnsafe(this.#text).slice(0, Math.max(room, 0));
    const line = this.#paintText("dim", `${text} ${seconds}`);
    this.#runtime.paint("err", CLEAR_LINE + line);
  }
}

/** Shows a line until this is done. */
export async function withProgress<T>(
  runtime: Runtime,
  text: string,
  quiet: boolean,
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  const progress = new Progress(runtime, text, quiet);
  try {
    return await work(progress);
  } finally {
    progress.end();
  }
}
