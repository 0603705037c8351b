/** The server's log: one line an event, on standard error. */

import type { LogConfig } from "../config/config.ts";
import type { Runtime } from "../runtime/runtime.ts";

export type Level = LogConfig["level"];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Writes a line: words for people, and fields for machines. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/** A log in the configuration's format, from its level on. */
export function createLog(runtime: Runtime, { format, level }: LogConfig): Log {
  const least = LEVELS.indexOf(level);
  return (level, message, fields = {}) => {
    if (LEVELS.indexOf(level) < least) return;
    const time = new Date(runtime.nowMs()).toISOString();
    runtime.err(
      format === "json"
        ? JSON.stringify({ time, level, message, ...fields }) + "\n"
        : `${time} ${level} ${message}\n`,
    );
  };
}
