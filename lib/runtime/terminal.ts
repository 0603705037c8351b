/**
 * Whether a standard stream is a terminal. node:tty knows, but loading it
 * takes Bun as long as a whole knock: what the file says goes first.
 * @module
 */

import * as fs from "node:fs";
import process from "node:process";

/** The numbers of the standard streams. */
const FILES = { in: 0, out: 1, err: 2 } as const;

export function isTerminal(stream: keyof typeof FILES): boolean {
  const file = FILES[stream];
  return lookAt(file) ?? process.getBuiltinModule("node:tty").isatty(file);
}

/** Null where the file does not say. */
function lookAt(file: number): boolean | null {
  if (process.platform === "win32") return null;
  let stats: fs.Stats;
  try {
    stats = fs.fstatSync(file);
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
