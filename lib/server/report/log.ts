/** The server's log: one line an event, on standard error. */

import type { LogConfig } from "../../config/config.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { escapeUnsafe, formatJson } from "../../values/text.ts";

export type Level = LogConfig["level"];

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Writes a line: words for people, and fields for machines. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, string | number>>,
) => void;

/**
 * A log in the configuration's format, from its level on. It keeps nobody
 * waiting: what finds its reader stopped, and no more room, is counted as lost.
 */
export function createLog(runtime: Runtime, { format, level }: LogConfig): Log {
  const least = LEVELS.indexOf(level);
  let lost = 0;
  const formatLine = (...[level, words, fields]: Parameters<Log>) => {
    // A client chooses the name of the command that it wants run.
    const message = escapeUnsafe(words);
    const time = new Date(runtime.nowMs()).toISOString();
    return format === "json"
      ? formatJson({ time, level, message, ...fields }) + "\n"
      : `${time} ${level} ${message}\n`;
  };
  return (level, message, fields) => {
    if (LEVELS.indexOf(level) < least) return;
    const line = formatLine(level, message, fields);
    const words = `log: ${lost} lines lost: nobody read them`;
    const before = lost > 0 ? formatLine("warn", words, { lost }) : "";
    if (runtime.log.write(before + line)) lost = 0;
    else lost++;
  };
}
