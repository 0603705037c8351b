/** The runtime in Bun, by node: modules and bun:ffi. */

import type * as ffi from "bun:ffi";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import type * as net from "node:net";
import process from "node:process";
import type { Readable } from "node:stream";
import type { Endpoint } from "../values/address.ts";
import { systemError, translatingAsync } from "./errors.ts";
import { listenDatagram } from "./bun_datagrams.ts";
import { bareAddress, withoutIpv6 } from "./node_datagrams.ts";
import {
  type NativeType,
  type Runtime,
  type Stream,
  SystemError,
} from "./runtime.ts";
import { standardStream } from "./standard.ts";
import { selfCommand, signalNumber, standardOutput, system } from "./system.ts";
import { isTerminal } from "./terminal.ts";

// Loaded when they are used: a client that knocks needs one of them.
const childProcesses = () => process.getBuiltinModule("node:child_process");
const networking = () => process.getBuiltinModule("node:net");
const streams = () => process.getBuiltinModule("node:stream");

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

export const nodeRuntime: Runtime = {
  ...system,
  ...standardOutput({
    out: (bytes) => fs.writeSync(STDOUT, bytes),
    err: (bytes) => fs.writeSync(STDERR, bytes),
    log: writeStandardError,
  }),
  isTerminal,
  prompt: (question) => isTerminal("in") ? globalThis.prompt(question) : null,
  name: "bun",
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
    const { toWeb } = streams().Readable;
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

  listenDatagram,

  listenStream: async (at, handler) => {
    const server = await withoutIpv6(at.host, (host) => bindStream(host, at));
    server.on("connection", (socket) => handler(nodeStream(socket)));
    server.on("error", () => {});
    const { address, port } = server.address() as net.AddressInfo;
    return {
      at: { host: address, port },
      close: () => {
        server.close();
        return Promise.resolve(); // the port is free, connections may go on
      },
    };
  },

  connectStream: (to, options = {}) =>
    new Promise((resolve, reject) => {
      const socket = networking().connect({
        host: to.host,
        port: to.port,
        allowHalfOpen: true,
      });
      const timer = options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
          socket.destroy();
          reject(new SystemError("ETIMEDOUT", "no answer in time"));
        }, options.timeoutMs);
      socket.once("error", (error) => {
        clearTimeout(timer);
        reject(systemError(error));
      });
      socket.once("connect", () => {
        clearTimeout(timer);
        resolve(nodeStream(socket));
      });
    }),

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

function bindStream(host: string, { port }: Endpoint): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = networking().createServer({ allowHalfOpen: true });
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}

function nodeStream(socket: net.Socket): Stream {
  let failed: SystemError | null = null;
  let wake = () => {};
  let over = false;
  socket.on("readable", () => wake());
  socket.on("end", () => {
    over = true;
    wake();
  });
  socket.on("close", () => {
    over = true;
    wake();
  });
  socket.on("error", (error) => {
    failed = systemError(error);
    wake();
  });
  return {
    peer: {
      host: bareAddress(socket.remoteAddress ?? ""),
      port: socket.remotePort ?? 0,
    },
    read: async () => {
      while (true) {
        const bytes = socket.read() as Uint8Array | null;
        if (bytes) return bytes;
        if (failed) throw failed;
        if (over) return null;
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
    write: (bytes) =>
      new Promise((resolve, reject) =>
        socket.write(
          bytes,
          (error) => error ? reject(systemError(error)) : resolve(),
        )
      ),
    finish: () => new Promise((resolve) => socket.end(() => resolve())),
    close: () => {
      socket.destroy();
    },
  };
}

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
