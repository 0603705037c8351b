/** The runtime in Deno: native UDP, TCP, subprocesses and FFI. */

import {
  addressToBytes,
  type Endpoint,
  isIpv4,
  parseAddress,
} from "../values/address.ts";
import { denoFiles } from "./deno_files.ts";
import { Garbage } from "./garbage.ts";
import { systemError, translating, translatingAsync } from "./errors.ts";
import {
  type NativeType,
  type Runtime,
  type Stream,
  SystemError,
} from "./runtime.ts";
import { standardStream } from "./standard.ts";
import { selfCommand, signalNumber, standardOutput, system } from "./system.ts";

/** Largest UDP payload, bytes. */
const DATAGRAM_SIZE = 65535;

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

  listenDatagram: (at, handler) => {
    // A script that is run by itself has no deno.json to turn this on.
    if (!("listenDatagram" in Deno)) {
      return import("./node_datagrams.ts").then((node) =>
        node.listenDatagram(at, handler)
      );
    }
    return translatingAsync(() => {
      const socket = bindDatagram(at);
      const { hostname, port } = socket.addr as Deno.NetAddr;
      const mapped = hostname.includes(":");
      const garbage = new Garbage();
      let closed = false;
      const receive = async () => {
        const buffer = new Uint8Array(DATAGRAM_SIZE);
        while (!closed) {
          let datagram: [Uint8Array, Deno.Addr];
          try {
            datagram = await socket.receive(buffer);
          } catch {
            // Closed, or an ICMP error of an earlier send: then go on.
            continue;
          }
          const { hostname, port } = datagram[1] as Deno.NetAddr;
          handler(datagram[0], { host: bareAddress(hostname), port });
          garbage.note();
        }
      };
      const received = receive();
      return Promise.resolve({
        at: { host: hostname, port },
        send: (bytes, to) =>
          translatingAsync(async () => {
            await socket.send(bytes, {
              transport: "udp",
              hostname: mapped && isIpv4(to.host)
                ? `::ffff:${to.host}`
                : to.host,
              port: to.port,
            });
          }),
        close: () => {
          closed = true;
          garbage.stop();
          socket.close();
          return received;
        },
      });
    });
  },

  listenStream: (at, handler) =>
    translatingAsync(() => {
      const listener = bindStream(at);
      const { hostname, port } = listener.addr as Deno.NetAddr;
      let closed = false;
      const accept = async () => {
        while (!closed) {
          try {
            handler(denoStream(await listener.accept()));
          } catch {
            if (closed) return;
            // Out of descriptors, or a connection that went away: go on.
            await system.sleep(10);
          }
        }
      };
      const accepted = accept();
      return Promise.resolve({
        at: { host: hostname, port },
        close: () => {
          closed = true;
          listener.close();
          return accepted;
        },
      });
    }),

  connectStream: (to, options = {}) =>
    translatingAsync(async () => {
      const signal = options.timeoutMs === undefined
        ? undefined
        : AbortSignal.timeout(options.timeoutMs);
      try {
        return denoStream(
          await Deno.connect({
            hostname: to.host,
            port: to.port,
            ...(signal && { signal }),
          }),
        );
      } catch (error) {
        if (!signal?.aborted) throw error;
        throw new SystemError("ETIMEDOUT", "no answer in time");
      }
    }),

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

function bindDatagram({ host, port }: Endpoint): Deno.DatagramConn {
  const bind = (hostname: string) =>
    Deno.listenDatagram({ transport: "udp", hostname, port });
  return withoutIpv6(host, bind);
}

function bindStream({ host, port }: Endpoint): Deno.Listener {
  return withoutIpv6(host, (hostname) => Deno.listen({ hostname, port }));
}

/** Binds "::" to IPv4 alone on a machine that has no IPv6. */
function withoutIpv6<T>(host: string, bind: (host: string) => T): T {
  try {
    return bind(host);
  } catch (error) {
    if (host !== "::" || systemError(error).code === "EADDRINUSE") throw error;
    return bind("0.0.0.0");
  }
}

function bareAddress(text: string): string {
  // Nearly every IPv4 packet comes this way: no parsing for it.
  if (text.startsWith("::ffff:") && text.includes(".")) return text.slice(7);
  return addressToBytes(text) ? parseAddress(text)! : text;
}

function denoStream(connection: Deno.Conn): Stream {
  const peer = connection.remoteAddr as Deno.NetAddr;
  const buffer = new Uint8Array(65536);
  return {
    peer: { host: bareAddress(peer.hostname), port: peer.port },
    read: () =>
      translatingAsync(async () => {
        const count = await connection.read(buffer);
        return count === null ? null : buffer.slice(0, count);
      }),
    write: (bytes) =>
      translatingAsync(async () => {
        let rest = bytes;
        while (rest.length > 0) {
          rest = rest.subarray(await connection.write(rest));
        }
      }),
    finish: () => translatingAsync(() => connection.closeWrite()),
    close: () => {
      try {
        connection.close();
      } catch {
        // It is closed already.
      }
    },
  };
}

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
