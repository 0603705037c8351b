/** What Deno and Bun have alike through node: modules. */

import * as fs from "node:fs";
import * as os from "node:os";
import process from "node:process";
import { parseAddress } from "../values/address.ts";
import { openDatabase } from "./database.ts";
import { systemError, translatingAsync } from "./errors.ts";
import { files } from "./files.ts";
import { fetchText, lookUp } from "./internet.ts";
import { LogQueue } from "./log_queue.ts";
import { type Runtime, SystemError } from "./runtime.ts";
import { isTerminal } from "./terminal.ts";

type Shared = Omit<
  Runtime,
  | "name"
  | "version"
  | "selfCommand"
  | "run"
  | "spawn"
  | "listenDatagram"
  | "listenStream"
  | "connectStream"
  | "standard"
  | "openLibrary"
  | "err"
  | "log"
>;

export const system: Shared = {
  platform: process.platform === "win32"
    ? "windows"
    : process.platform === "darwin"
    ? "darwin"
    : "linux",
  pid: process.pid,
  args: process.argv.slice(2),
  exit: (status) => process.exit(status),

  env: (name) => process.env[name] || undefined,
  userId: () => process.geteuid?.() ?? null,
  hostName: () => os.hostname(),
  ownAddresses: () =>
    Object.values(os.networkInterfaces()).flat()
      .filter((at) => at !== undefined && !at.internal)
      .map((at) => parseAddress(at!.address))
      .filter((address) => address !== null && !address.startsWith("fe80:"))
      .map((address) => address!),

  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: (size) => crypto.getRandomValues(new Uint8Array(size)),
  rsaPrivateKey: (bits) =>
    process.getBuiltinModule("node:crypto").generateKeyPairSync("rsa", {
      modulusLength: bits,
      privateKeyEncoding: { type: "pkcs1", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    }).privateKey,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done);
    }),
  every: (ms, callback) => {
    const timer = setInterval(callback, ms) as unknown;
    (timer as { unref?: () => void }).unref?.();
    return { stop: () => clearInterval(timer as number) };
  },

  out: (text) => writeAll(1, text),
  isTerminal,
  columns: () => process.stdout.columns || 80,
  readStdin: async (limit) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of process.stdin) {
      size += chunk.length;
      if (size > limit) {
        throw new SystemError("EFBIG", `more than ${limit} bytes`);
      }
      chunks.push(chunk);
    }
    return new Uint8Array(Buffer.concat(chunks));
  },
  prompt: (question) => isTerminal("in") ? globalThis.prompt(question) : null,
  onSignal: (name, callback) => {
    if (name === "SIGHUP" && process.platform === "win32") {
      return { stop: () => {} };
    }
    process.on(name, callback);
    return { stop: () => void process.off(name, callback) };
  },

  files,
  signalProcess: (pid, signal) => {
    try {
      process.kill(pid, signal === "test" ? 0 : signal);
      return true;
    } catch (error) {
      // Somebody else's process is there, too.
      return systemError(error).code === "EPERM";
    }
  },
  resolve: (host) =>
    translatingAsync(async () => {
      const address = parseAddress(host);
      if (address) return [address];
      const dns = process.getBuiltinModule("node:dns");
      const found = await dns.promises.lookup(host, { all: true });
      const all = found.map(({ address }) => parseAddress(address));
      return [...new Set(all.filter((address) => address !== null))];
    }),
  lookUp,
  fetchText,
  openDatabase,
};

/** Standard error, for commands and for the log, by a write that does not block the loop. */
export function standardError(
  writeSome: (bytes: Uint8Array) => Promise<number>,
): Pick<Runtime, "err" | "log"> {
  const log = new LogQueue(writeSome);
  return {
    log,
    // Behind a log that nobody reads it would wait for ever.
    err: (text) => log.isBusy ? void log.write(text) : writeAll(2, text),
  };
}

/** The number of a signal by its name. */
export function signalNumber(name: string): number | undefined {
  return os.constants.signals[name as NodeJS.Signals];
}

/** An argv that runs this program again: the binary itself, or runtime and script. */
export function selfCommand(run: readonly string[]): string[] {
  const script = process.argv[1] ?? "";
  const compiled = !/\.(ts|js|mjs)$/.test(script) ||
    script.startsWith("/$bunfs");
  return compiled ? [process.execPath] : [process.execPath, ...run, script];
}

function writeAll(fd: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (error) {
      const { code } = systemError(error);
      // A reader that went away is no reason to fail; a slow one is waited for.
      if (code !== "EAGAIN") return;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));
