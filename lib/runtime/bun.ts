/** Runtime of Bun, by node: modules and bun:ffi, and of Node.js, without FFI. */

import * as fs from "node:fs";
import process from "node:process";
import { httpClient } from "./sockets/http.ts";
import { isTerminal, standardOutput } from "./output.ts";
import type { NativeCall, Runtime } from "./runtime.ts";
import {
  processes,
  selfCommand,
  type Started,
  type Starting,
  system,
} from "./shared.ts";
import { listenDatagram } from "./sockets/bun.ts";
import { listenDatagram as listenByNode, streams } from "./sockets/node.ts";

const STDOUT = 1;
const STDERR = 2;

const IS_BUN = process.versions.bun !== undefined;

export const nodeRuntime: Runtime = {
  ...system,
  ...standardOutput({
    out: (bytes) => fs.writeSync(STDOUT, bytes),
    err: (bytes) => fs.writeSync(STDERR, bytes),
    log: (bytes) =>
      new Promise((resolve, reject) =>
        fs.write(
          STDERR,
          bytes,
          (error, count) => error ? reject(error) : resolve(count),
        )
      ),
  }),
  isTerminal,
  prompt: (question) =>
    isTerminal("in") ? globalThis.prompt?.(question) ?? null : null,
  name: IS_BUN ? "bun" : "node",
  version: process.versions.bun ?? process.versions.node,
  selfCommand: () => selfCommand(["run"]),

  ...processes(start),

  listenDatagram: IS_BUN ? listenDatagram : listenByNode,

  ...streams,

  standard: async () =>
    (await import("./standard.ts")).standardStream(nodeRuntime.openLibrary),

  openHttp: ({ ca, cert, key }) =>
    httpClient(() => {
      const tls = {
        ...(ca !== null && { ca }),
        ...(cert !== null && key !== null && { cert, key }),
      };
      return { init: { tls } as RequestInit, close: () => {} };
    }),

  openLibrary: async (name, symbols) => {
    try {
      // By a variable: Deno would look for this module when it checks types.
      const module = "bun:ffi";
      const bun = await import(module);
      const native = Object.entries(symbols).map(([symbol, call]) => {
        const args = call.parameters.map((type) =>
          type === "buffer" ? "ptr" : type
        );
        return [symbol, { args, returns: call.result }];
      });
      const library = bun.dlopen(name, Object.fromEntries(native));
      const calls: Record<string, NativeCall> = library.symbols;
      return {
        call: (symbol, ...values) => calls[symbol]!(...values),
        addressOf: (bytes) => BigInt(bun.ptr(bytes)),
        textAt: (pointer) => pointer ? String(new bun.CString(pointer)) : "",
        memoryAt: (pointer, size) => bun.toArrayBuffer(pointer, 0, size),
        close: () => library.close(),
      };
    } catch {
      return null;
    }
  },
};

function start(
  argv: readonly string[],
  { stdin = "ignore", output = "pipe", env, detached = false }: Starting,
): Started {
  // Loaded when it is used: a client that knocks runs no program.
  const { spawn } = process.getBuiltinModule("node:child_process");
  const child = spawn(argv[0]!, argv.slice(1), {
    stdio: [stdin, output, output],
    env: { ...process.env, ...env },
    detached,
  });
  return {
    pid: child.pid,
    running: new Promise((resolve, reject) => {
      child.once("spawn", resolve);
      child.on("error", reject);
    }),
    stdout: child.stdout,
    stderr: child.stderr,
    feed: (bytes) =>
      new Promise((resolve, reject) => {
        child.stdin!.on("error", reject);
        child.stdin!.end(bytes, () => resolve(null));
      }),
    ended: new Promise((resolve) =>
      child.once("close", (code, signal) => resolve({ code, signal }))
    ),
    kill: (signal) => void child.kill(signal),
  };
}
