/**
 * The runtime in Deno: by Deno's own calls what every command needs, as they
 * are there from the start, and what node: modules do not have. Programs, too:
 * node:child_process wants the right to read every variable of the environment.
 * @module
 */

import { files, MAX_FILE_SIZE } from "./files.ts";
import { httpClient } from "./sockets/http.ts";
import { standardOutput } from "./output.ts";
import type { Files, NativeCall, Runtime } from "./runtime.ts";
import {
  processes,
  selfCommand,
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
    const { UnsafePointer, UnsafePointerView } = Deno;
    try {
      const library = Deno.dlopen(name, symbols);
      const calls = library.symbols as Record<string, NativeCall>;
      return Promise.resolve({
        call: (symbol, ...values) => calls[symbol]!(...values),
        addressOf: (bytes) => UnsafePointer.value(UnsafePointer.of(bytes)),
        textAt: (pointer) =>
          pointer
            ? UnsafePointerView.getCString(pointer as Deno.PointerObject)
            : "",
        memoryAt: (pointer, size) =>
          UnsafePointerView.getArrayBuffer(pointer as Deno.PointerObject, size),
        close: () => library.close(),
      });
    } catch {
      return Promise.resolve(null);
    }
  },
};

function start(
  argv: readonly string[],
  { stdin = "ignore", output = "pipe", env, detached = false }: Starting,
): Started {
  const child = new Deno.Command(argv[0]!, {
    args: argv.slice(1),
    stdin: STDIO[stdin],
    stdout: STDIO[output],
    stderr: STDIO[output],
    ...(env && { env: { ...env } }),
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
