/** The part of the runtime that Deno and Bun have alike, mostly by node: modules. */

import process from "node:process";
import { formatEndpoint, parseAddress } from "../values/address.ts";
import { systemError, translating, translatingAsync } from "./errors.ts";
import { files, openDatabase, os } from "./files.ts";
import type { Runtime } from "./runtime.ts";
import { SystemError } from "../values/errors.ts";

/** Whatever both runtimes do alike. */
export const system = {
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
      const before = { user: process.geteuid!(), group: process.getegid!() };
      const back = () => {
        process.seteuid!(before.user);
        process.setegid!(before.group);
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
      .filter((address) => address !== null)
      .filter((address) => !address.startsWith("fe80:")),
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
  readStdin: async (limit) =>
    new Uint8Array(await readAll(process.stdin, limit)),
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
  lookUp: (name, { server, port, family, timeoutMs }) =>
    translatingAsync(async () => {
      const dns = process.getBuiltinModule("node:dns");
      const options = { timeout: timeoutMs, tries: 1 };
      const resolver = new dns.promises.Resolver(options);
      resolver.setServers([formatEndpoint({ host: server, port })]);
      const found = family === "IPv4"
        ? await resolver.resolve4(name)
        : await resolver.resolve6(name);
      return found.map(parseAddress).filter((at) => at !== null);
    }),
  fetchText: (url, { timeoutMs, limit }) =>
    translatingAsync(async () => {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetch(url, { signal, redirect: "error" })
        .catch((error) => {
          if (!signal.aborted) throw error;
          throw new SystemError("ETIMEDOUT", "no answer in time");
        });
      const text = await readText(response, limit);
      if (!response.ok) throw new SystemError("", `status ${response.status}`);
      return text;
    }),
  openDatabase,
} satisfies Partial<Runtime>;

/** Options for starting a program. */
export interface Starting {
  /** Default: "ignore". */
  readonly stdin?: "ignore" | "inherit" | "pipe";
  /** Of standard output and standard error. Default: "pipe". */
  readonly output?: "inherit" | "pipe";
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** In a group of its own, so that a time limit ends its children too. */
  readonly detached?: boolean;
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
    run: (argv, { stdin, inherit, timeoutMs, env, started } = {}) =>
      translatingAsync(async () => {
        const child = start(argv, {
          stdin: stdin !== undefined ? "pipe" : inherit ? "inherit" : "ignore",
          output: inherit ? "inherit" : "pipe",
          env,
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
            readAll(child.stdout),
            readAll(child.stderr),
          ]);
          const said = { stdout: `${stdout}`, stderr: `${stderr}` };
          if (signal === null) return { code, ...said };
          const number = os().constants.signals[signal as NodeJS.Signals];
          return { code: null, signal: number, ...said };
        } finally {
          clearTimeout(timer);
        }
      }),

    spawn: (argv, { env } = {}) =>
      translating(() => {
        const child = start(argv, { env });
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

/** All bytes of a stream; throws SystemError when they are more than a limit. */
async function readAll(
  stream: AsyncIterable<Uint8Array> | null,
  limit = Infinity,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream ?? []) {
    size += chunk.length;
    if (size > limit) {
      throw new SystemError("EFBIG", `more than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Reads the body of an answer, at most so many bytes; throws SystemError. */
export async function readText(
  { body }: Response,
  limit: number,
): Promise<string> {
  return (await readAll(body, limit)).toString();
}

/** An argv that runs this program again: the binary itself, or runtime and script. */
export function selfCommand(run: readonly string[]): string[] {
  const script = process.argv[1] ?? "";
  const compiled = !/\.(ts|js|mjs)$/.test(script) ||
    script.startsWith("/$bunfs");
  return compiled ? [process.execPath] : [process.execPath, ...run, script];
}
