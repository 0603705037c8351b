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

/** Bytes of keys that end a line or change it, in raw mode. */
const ENTER = [0x0d, 0x0a];
const ERASE = [0x08, 0x7f];
const INTERRUPT = 0x03;
const END = 0x04;

/** The exit status of a program that SIGINT ended. */
const INTERRUPTED = 130;

/**
 * Asks on standard error, and reads a line that the terminal does not show;
 * null at the end of input, or where there is no terminal. Ctrl-C ends the
 * program, as it does elsewhere.
 */
export async function promptSecret(question: string): Promise<string | null> {
  if (!isTerminal("in")) return null;
  const { stdin } = process;
  stdin.setRawMode(true);
  try {
    fs.writeSync(FILES.err, `${question} `);
    const typed: number[] = [];
    return await new Promise((resolve) => {
      stdin.on("end", () => resolve(null));
      stdin.on("data", (chunk: Uint8Array) => {
        for (const byte of chunk) {
          if (ENTER.includes(byte)) {
            return resolve(new TextDecoder().decode(Uint8Array.from(typed)));
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
    fs.writeSync(FILES.err, "\n");
  }
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
