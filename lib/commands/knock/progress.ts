/** Progress of something slow: one line, on a terminal alone. */

import type { Runtime } from "../../runtime/runtime.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { paintFor } from "../command.ts";

/** Silence at first, and the interval at which the line is painted after that. */
const QUIET_MS = 500;
const PAINT_MS = 250;

const CLEAR_LINE = "\r\x1b[K";

/**
 * Shows a line on standard error until some work is done, which may change its
 * text; nothing with `quiet`, or where that is no terminal.
 */
export async function withProgress<T>(
  runtime: Runtime,
  text: string,
  quiet: boolean,
  work: (show: (text: string) => void) => Promise<T>,
): Promise<T> {
  const startMs = runtime.monotonicMs();
  const paint = paintFor(runtime, "err");
  let shown = text;
  let painted = false;
  const draw = () => {
    const elapsedMs = runtime.monotonicMs() - startMs;
    if (elapsedMs < QUIET_MS) return;
    painted = true;
    const seconds = `${Math.floor(elapsedMs / 1000)} s`;
    const room = runtime.columns() - seconds.length - 2;
    const part = escapeUnsafe(shown).slice(0, Math.max(room, 0));
    runtime.paint("err", CLEAR_LINE + paint("dim", `${part} ${seconds}`));
  };
  const isShown = !quiet && runtime.isTerminal("err");
  const timer = isShown ? runtime.every(PAINT_MS, draw) : null;
  try {
    return await work((text) => void (shown = text));
  } finally {
    timer?.stop();
    if (painted) runtime.paint("err", CLEAR_LINE);
  }
}
