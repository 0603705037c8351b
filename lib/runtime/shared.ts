/** The part of the runtime that Deno and Bun have alike, mostly by node: modules. */

import process from "node:process";
import { parseAddress } from "../values/address.ts";
import { escapeLines } from "../values/text.ts";
import { systemError, translating, translatingAsync } from "./errors.ts";
import { files, openDatabase, os } from "./files.ts";
import { LogQueue } from "./output.ts";
import type { FetchOptions, LookUp, Runtime } from "./runtime.ts";
import { FailureError, SystemError } from "../values/errors.ts";

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
  | "openHttp"
  | "openLibrary"
  | "isTerminal"
  | "prompt"
  | "out"
  | "err"
  | "paint"
  | "log"
>;

export const system: Shared = {
  platform: process.platform === "win32"
    ? "windows"
    : process.platform === "darwin"
    ? "darwin"
    : "linux",
  arch: process.arch,
  pid: process.pid,
  args: process.argv.slice(2),
  exit: (status) => process.exit(status),

  env: (name) => process.env[name] || undefined,
  userId: () => process.geteuid?.() ?? null,
  groupId: () => {
    try {
      return process.getegid?.() ?? null;
    } catch {
      return null; // by Deno's permissions
    }
  },
  actAs: (user, group) =>
    translating(() => {
      const [userBefore, groupBefore] = [
        process.geteuid!(),
        process.getegid!(),
      ];
      const back = () => {
        process.seteuid!(userBefore);
        process.setegid!(groupBefore);
      };
      process.setegid!(group);
      try {
        process.seteuid!(user);
      } catch (error) {
        back();
        throw error;
      }
      return { stop: back };
    }),
  hostName: () => os().hostname(),
  ownAddresses: () =>
    Object.values(os().networkInterfaces()).flat()
      .filter((at) => at !== undefined && !at.internal)
      .map((at) => parseAddress(at!.address))
      .filter((address) => address !== null && !address.startsWith("fe80:"))
      .map((address) => address!),
  ownNetworks: () =>
    Object.values(os().networkInterfaces()).flat()
      .map((at) => at?.cidr?.replace(/%[^/]*/, "") ?? at?.address)
      .filter((network) => network !== undefined),

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

  hasTerminal: () => process.getBuiltinModule("node:tty").isatty(0),
  columns: () => process.stdout.columns || 80,
  rows: () => process.stdout.rows || 24,
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
  // Late: Deno needs nothing else of it.
  promptSecret: async (question, isWhole) =>
    await (await import("./standard.ts")).promptSecret(question, isWhole),
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

/** Writers of the standard streams; each writes as much as it can, and returns the number of bytes. */
interface Writing {
  out(bytes: Uint8Array): number;
  err(bytes: Uint8Array): number;
  /** Writes to standard error without blocking the loop. */
  log(bytes: Uint8Array): Promise<number>;
}

/** Standard output and standard error, for commands and for the log. */
export function standardOutput(
  { out, err, log: writeSome }: Writing,
): Pick<Runtime, "out" | "err" | "paint" | "log"> {
  const log = new LogQueue(writeSome);
  const paint = (stream: "out" | "err", text: string) => {
    if (stream === "out") return isRead(writeAll(out, text));
    // Behind a log without a reader it would wait for ever.
    if (log.isBusy) return log.write(text);
    return writeAll(err, text) === null;
  };
  return {
    out: (text) => paint("out", escapeLines(text)),
    err: (text) => paint("err", escapeLines(text)),
    paint,
    log,
  };
}

/** Options for starting a program. */
export interface Starting {
  readonly stdin: "ignore" | "inherit" | "pipe";
  /** Of standard output and standard error. */
  readonly output: "inherit" | "pipe";
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /** In a group of its own, so that a time limit ends its children too. */
  readonly detached: boolean;
}

/** A program that a runtime has started. */
export interface Started {
  /** Undefined where it could not start; `running` rejects then. */
  readonly pid: number | undefined;
  readonly running: Promise<unknown>;
  /** Null where the output is inherited. */
  readonly stdout: AsyncIterable<Uint8Array> | null;
  readonly stderr: AsyncIterable<Uint8Array> | null;
  /** Writes all of standard input; rejects where the program does not read it. */
  feed(bytes: Uint8Array<ArrayBuffer>): Promise<unknown>;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  /** May throw when it has ended. */
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

/** Running and spawning, over a runtime's way to start a program. */
export function processes(
  start: (argv: readonly string[], starting: Starting) => Started,
): Pick<Runtime, "run" | "spawn"> {
  return {
    run: (argv, { stdin, inherit, timeoutMs, env, cwd, started } = {}) =>
      translatingAsync(async () => {
        const child = start(argv, {
          stdin: stdin !== undefined ? "pipe" : inherit ? "inherit" : "ignore",
          output: inherit ? "inherit" : "pipe",
          env,
          cwd,
          detached: timeoutMs !== undefined,
        });
        await child.running;
        started?.(child.pid!);
        if (stdin !== undefined) {
          const bytes = typeof stdin === "string"
            ? new TextEncoder().encode(stdin)
            : new Uint8Array(stdin);
          // A program that ends without reading its input is no error of ours.
          child.feed(bytes).catch(() => {});
        }
        const timer = timeoutMs === undefined ? undefined : setTimeout(
          // Minus: the group.
          () => system.signalProcess(-child.pid!, "SIGKILL"),
          timeoutMs,
        );
        try {
          const [{ code, signal }, stdout, stderr] = await Promise.all([
            child.ended,
            collect(child.stdout),
            collect(child.stderr),
          ]);
          if (signal === null) return { code, stdout, stderr };
          const number = os().constants.signals[signal as NodeJS.Signals];
          return { code: null, signal: number, stdout, stderr };
        } finally {
          clearTimeout(timer);
        }
      }),

    spawn: (argv, { env } = {}) =>
      translating(() => {
        const child = start(argv, {
          stdin: "ignore",
          output: "pipe",
          env,
          detached: false,
        });
        child.running.catch(() => {});
        if (child.pid === undefined) {
          throw new SystemError("ENOENT", `cannot start "${argv[0]}"`);
        }
        return {
          pid: child.pid,
          stdout: child.stdout!,
          stderr: child.stderr!,
          ended: child.ended.then(({ code, signal }) => signal ? null : code),
          kill: (signal) => {
            try {
              child.kill(signal);
            } catch {
              // It ended by itself.
            }
          },
        };
      }),
  };
}

async function collect(
  stream: AsyncIterable<Uint8Array> | null,
): Promise<string> {
  if (!stream) return "";
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** An argv that runs this program again: the binary itself, or runtime and script. */
export function selfCommand(run: readonly string[]): string[] {
  const script = process.argv[1] ?? "";
  const compiled = !/\.(ts|js|mjs)$/.test(script) ||
    script.startsWith("/$bunfs");
  return compiled ? [process.execPath] : [process.execPath, ...run, script];
}

/** Writes a text, and waits for a slow reader; the system's refusal, if it refuses. */
function writeAll(
  write: (bytes: Uint8Array) => number,
  text: string,
): SystemError | null {
  let rest: Uint8Array = new TextEncoder().encode(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(write(rest));
    } catch (error) {
      const failure = systemError(error);
      if (failure.code !== "EAGAIN") return failure;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
  return null;
}

/** False if the reader of stdout went away; any other refusal is a FailureError. */
function isRead(failure: SystemError | null): boolean {
  if (failure === null) return true;
  if (failure.code === "EPIPE") return false;
  throw new FailureError(`cannot write to stdout: ${failure.message}`);
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Asks one name server for a name's addresses of one family, canonical. */
export function lookUp(
  name: string,
  { server, port, family, timeoutMs }: LookUp,
): Promise<string[]> {
  return translatingAsync(async () => {
    const dns = process.getBuiltinModule("node:dns");
    const resolver = new dns.promises.Resolver({
      timeout: timeoutMs,
      tries: 1,
    });
    resolver.setServers([
      server.includes(":") ? `[${server}]:${port}` : `${server}:${port}`,
    ]);
    const found = family === "IPv4"
      ? await resolver.resolve4(name)
      : await resolver.resolve6(name);
    return found.map((text) => parseAddress(text)).filter((at) => at !== null);
  });
}

/** Reads a page of at most so many bytes as text. */
export function fetchText(
  url: string,
  { timeoutMs, limit }: FetchOptions,
): Promise<string> {
  return translatingAsync(async () => {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { signal, redirect: "error" })
      .catch((error) => {
        if (!signal.aborted) throw error;
        throw new SystemError("ETIMEDOUT", "no answer in time");
      });
    const text = await readBody(response, limit);
    if (!response.ok) throw new SystemError("", `status ${response.status}`);
    return text;
  });
}

/** Reads the body of an answer, at most so many bytes; throws SystemError. */
export async function readBody(
  response: Response,
  limit: number,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) {
      throw new SystemError("EFBIG", `more than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
