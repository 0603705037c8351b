/**
 * The runtime in Deno: by Deno's own calls what every command needs, as they
 * are there from the start, and what node: modules do not have. Programs, too:
 * node:child_process wants the right to read every variable of the environment.
 * @module
 */

import { files, MAX_FILE_SIZE } from "./files.ts";
import { httpClient } from "./sockets/http.ts";
import type { Files, NativeType, Runtime } from "./runtime.ts";
import {
  processes,
  selfCommand,
  standardOutput,
  type Started,
  type Starting,
  system,
} from "./shared.ts";
import { network } from "./sockets/deno.ts";

/** Files: what goes wrong is left to node:fs, for its words. */
const denoFiles: Files = {
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

const STDIO = { ignore: "null", inherit: "inherit", pipe: "piped" } as const;

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

  ...processes(start),

  ...network,

  standard: async () =>
    (await import("./standard.ts")).standardStream(denoRuntime.openLibrary),

  openHttp: ({ ca, cert, key }) =>
    httpClient(() => {
      const client = Deno.createHttpClient({
        ...(ca !== null && { caCerts: [ca] }),
        ...(cert !== null && key !== null && { cert, key }),
      });
      return { init: { client } as RequestInit, close: () => client.close() };
    }),

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
        addressOf: (bytes) =>
          Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)),
        memoryAt: (pointer, size) =>
          Deno.UnsafePointerView.getArrayBuffer(
            pointer as Deno.PointerObject,
            size,
          ),
        close: () => library.close(),
      });
    } catch {
      return Promise.resolve(null);
    }
  },
};

function start(
  argv: readonly string[],
  { stdin, output, env, cwd, detached }: Starting,
): Started {
  const child = new Deno.Command(argv[0]!, {
    args: argv.slice(1),
    stdin: STDIO[stdin],
    stdout: STDIO[output],
    stderr: STDIO[output],
    ...(env && { env: { ...env } }),
    ...(cwd !== undefined && { cwd }),
    detached,
  }).spawn();
  return {
    pid: child.pid,
    running: Promise.resolve(),
    stdout: output === "pipe" ? child.stdout : null,
    stderr: output === "pipe" ? child.stderr : null,
    feed: async (bytes) => {
      const writer = child.stdin.getWriter();
      await writer.write(bytes);
      await writer.close();
    },
    ended: child.status,
    kill: (signal) => child.kill(signal),
  };
}

function isTerminal(stream: "in" | "out" | "err"): boolean {
  const { stdin, stdout, stderr } = Deno;
  return { in: stdin, out: stdout, err: stderr }[stream].isTerminal();
}
