/**
 * Files in Deno: what every command reads, by Deno's own calls, which are
 * there from the start; all else by node:fs, and what goes wrong, too, for
 * its words.
 * @module
 */

import { translating, translatingAsync } from "./errors.ts";
import { files, MAX_FILE_SIZE } from "./files.ts";
import { standardStream } from "./output.ts";
import type { Files, NativeType, Runtime } from "./runtime.ts";
import { selfCommand, signalNumber, standardOutput, system } from "./shared.ts";
import { network } from "./sockets/deno.ts";

export const denoFiles: Files = {
  ...files,
  readText: (path) => new TextDecoder().decode(readBytes(path)),
  readBytes,
  stat: (path) => {
    try {
      const { isFile, isDirectory, size, mode, uid, gid } = Deno.statSync(path);
      const posix = Deno.build.os !== "windows";
      return {
        isFile,
        isFolder: isDirectory,
        size,
        mode: posix ? mode! & 0o7777 : null,
        owner: posix ? uid : null,
        group: posix ? gid : null,
      };
    } catch (error) {
      return error instanceof Deno.errors.NotFound ? null : files.stat(path);
    }
  },
};

function readBytes(path: string): Uint8Array<ArrayBuffer> {
  try {
    if (Deno.statSync(path).size <= MAX_FILE_SIZE) {
      return Deno.readFileSync(path);
    }
  } catch {
    // node:fs says why.
  }
  return files.readBytes(path);
}

// The runtime in Deno: native subprocesses and FFI; UDP and TCP are in deno_network.ts.

const NATIVE: Record<NativeType, Deno.NativeResultType> = {
  pointer: "pointer",
  buffer: "buffer",
  text: "pointer",
  i32: "i32",
  u32: "u32",
  void: "void",
};

export const denoRuntime: Runtime = {
  ...system,
  ...standardOutput({
    out: (bytes) => Deno.stdout.writeSync(bytes),
    err: (bytes) => Deno.stderr.writeSync(bytes),
    log: (bytes) => Deno.stderr.write(bytes),
  }),
  files: denoFiles,
  isTerminal,
  prompt: (question) => isTerminal("in") ? prompt(question) : null,
  name: "deno",
  version: Deno.version.deno,
  selfCommand: () => selfCommand(["run", "-A"]),

  run: (argv, options = {}) =>
    translatingAsync(async () => {
      const child = new Deno.Command(argv[0]!, {
        args: argv.slice(1),
        stdin: options.stdin === undefined
          ? options.inherit ? "inherit" : "null"
          : "piped",
        stdout: options.inherit ? "inherit" : "piped",
        stderr: options.inherit ? "inherit" : "piped",
        ...(options.env && { env: { ...options.env } }),
        ...(options.cwd !== undefined && { cwd: options.cwd }),
        // A group of its own, so that a time limit ends its children too.
        detached: options.timeoutMs !== undefined,
      }).spawn();
      options.started?.(child.pid);
      if (options.stdin !== undefined) {
        const writer = child.stdin.getWriter();
        const bytes = typeof options.stdin === "string"
          ? new TextEncoder().encode(options.stdin)
          : new Uint8Array(options.stdin);
        // A program that ends without reading its input is no error of ours.
        writer.write(bytes).then(() => writer.close()).catch(() => {});
      }
      const timer = options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => killGroup(child.pid), options.timeoutMs);
      try {
        const text = (stream: ReadableStream<Uint8Array<ArrayBuffer>>) =>
          options.inherit ? "" : new Response(stream).text();
        const [status, stdout, stderr] = await Promise.all([
          child.status,
          options.inherit ? "" : text(child.stdout),
          options.inherit ? "" : text(child.stderr),
        ]);
        if (!status.signal) return { code: status.code, stdout, stderr };
        const signal = signalNumber(status.signal);
        return { code: null, signal, stdout, stderr };
      } finally {
        clearTimeout(timer);
      }
    }),

  spawn: (argv, options = {}) =>
    translating(() => {
      const child = new Deno.Command(argv[0]!, {
        args: argv.slice(1),
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        ...(options.env && { env: { ...options.env } }),
      }).spawn();
      return {
        pid: child.pid,
        stdout: child.stdout,
        stderr: child.stderr,
        ended: child.status.then(({ code, signal }) => signal ? null : code),
        kill: (signal) => {
          try {
            child.kill(signal);
          } catch {
            // It ended by itself.
          }
        },
      };
    }),

  ...network,

  standard: () => standardStream(denoRuntime.openLibrary),

  openLibrary: (name, symbols) => {
    try {
      const native = Object.fromEntries(
        Object.entries(symbols).map(([symbol, { parameters, result }]) => [
          symbol,
          {
            parameters: parameters.map((type) => NATIVE[type]),
            result: NATIVE[result],
          },
        ]),
      ) as Deno.ForeignLibraryInterface;
      const library = Deno.dlopen(name, native);
      const functions = library.symbols as Record<
        string,
        (...values: unknown[]) => unknown
      >;
      return Promise.resolve({
        call: (symbol, ...values) => {
          const result = functions[symbol]!(...values);
          if (symbols[symbol]!.result !== "text") return result;
          return result === null
            ? ""
            : Deno.UnsafePointerView.getCString(result as Deno.PointerObject);
        },
        close: () => library.close(),
      });
    } catch {
      return Promise.resolve(null);
    }
  },
};

function killGroup(pid: number): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

function isTerminal(stream: "in" | "out" | "err"): boolean {
  const { stdin, stdout, stderr } = Deno;
  return { in: stdin, out: stdout, err: stderr }[stream].isTerminal();
}
