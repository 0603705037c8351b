/** Runtime of Bun, by node: modules and bun:ffi, and of Node.js, without FFI. */

import type * as ffi from "bun:ffi";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import process from "node:process";
import type { Readable } from "node:stream";
import { translatingAsync } from "./errors.ts";
import { isTerminal, standardStream } from "./output.ts";
import type { NativeType, Runtime } from "./runtime.ts";
import { selfCommand, signalNumber, standardOutput, system } from "./shared.ts";
import { listenDatagram } from "./sockets/bun.ts";
import { listenDatagram as listenByNode, streams } from "./sockets/node.ts";
import { SystemError } from "../values/errors.ts";

// Loaded when they are used: a client that knocks needs one of them.
const childProcesses = () => process.getBuiltinModule("node:child_process");
const readables = () => process.getBuiltinModule("node:stream").Readable;

const STDOUT = 1;
const STDERR = 2;

const NATIVE: Record<NativeType, string> = {
  pointer: "ptr",
  buffer: "ptr",
  text: "cstring",
  i32: "i32",
  u32: "u32",
  void: "void",
};

const IS_BUN = process.versions.bun !== undefined;

export const nodeRuntime: Runtime = {
  ...system,
  ...standardOutput({
    out: (bytes) => fs.writeSync(STDOUT, bytes),
    err: (bytes) => fs.writeSync(STDERR, bytes),
    log: writeStandardError,
  }),
  isTerminal,
  prompt: (question) =>
    isTerminal("in") ? globalThis.prompt?.(question) ?? null : null,
  name: IS_BUN ? "bun" : "node",
  version: process.versions.bun ?? process.versions.node,
  selfCommand: () => selfCommand(["run"]),

  run: (argv, options = {}) =>
    translatingAsync(async () => {
      const piped = options.inherit ? "inherit" : "pipe";
      const child = childProcesses().spawn(argv[0]!, argv.slice(1), {
        stdio: [
          options.stdin === undefined
            ? options.inherit ? "inherit" : "ignore"
            : "pipe",
          piped,
          piped,
        ],
        env: { ...process.env, ...options.env },
        ...(options.cwd !== undefined && { cwd: options.cwd }),
        // A group of its own, so that a time limit ends its children too.
        detached: options.timeoutMs !== undefined,
      });
      await started(child);
      options.started?.(child.pid!);
      // A program that ends without reading its input is no error of ours.
      child.stdin?.on("error", () => {});
      if (options.stdin !== undefined) child.stdin?.end(options.stdin);
      const stdout = collect(child.stdout);
      const stderr = collect(child.stderr);
      const timer = options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => killGroup(child.pid!), options.timeoutMs);
      try {
        const code = await ended(child);
        const said = { code, stdout: await stdout, stderr: await stderr };
        const signal = child.signalCode;
        return signal ? { ...said, signal: signalNumber(signal) } : said;
      } finally {
        clearTimeout(timer);
      }
    }),

  spawn: (argv, options = {}) => {
    const child = childProcesses().spawn(argv[0]!, argv.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
    });
    const status = ended(child);
    const { toWeb } = readables();
    // Without a listener, a program that is missing would be thrown nowhere.
    child.on("error", () => {});
    if (child.pid === undefined) {
      throw new SystemError("ENOENT", `cannot start "${argv[0]}"`);
    }
    return {
      pid: child.pid,
      stdout: toWeb(child.stdout!) as ReadableStream<Uint8Array>,
      stderr: toWeb(child.stderr!) as ReadableStream<Uint8Array>,
      ended: status,
      kill: (signal) => void child.kill(signal),
    };
  },

  listenDatagram: IS_BUN ? listenDatagram : listenByNode,

  ...streams,

  standard: () => standardStream(nodeRuntime.openLibrary),

  openLibrary: async (name, symbols) => {
    try {
      // By a variable: Deno would look for this module when it checks types.
      const module = "bun:ffi";
      const { dlopen } = await import(module) as typeof ffi;
      const native = Object.fromEntries(
        Object.entries(symbols).map(([symbol, { parameters, result }]) => [
          symbol,
          {
            args: parameters.map((type) => NATIVE[type]),
            returns: NATIVE[result],
          },
        ]),
      );
      const library = dlopen(name, native as Record<string, ffi.FFIFunction>);
      const functions = library.symbols as unknown as Record<
        string,
        (...values: unknown[]) => unknown
      >;
      return {
        call: (symbol, ...values) => {
          const result = functions[symbol]!(...values);
          return symbols[symbol]!.result === "text" ? String(result) : result;
        },
        close: () => library.close(),
      };
    } catch {
      return null;
    }
  },
};

function started(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("spawn", () => resolve());
    child.once("error", reject);
  });
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("close", (code) => resolve(code)));
}

async function collect(stream: Readable | null): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function writeStandardError(bytes: Uint8Array): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  fs.write(
    STDERR,
    bytes,
    (error, count) => error ? reject(error) : resolve(count),
  );
  return promise;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
