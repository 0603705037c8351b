/** The system call bpf(2), by way of the C library. Linux, 64 bits. */

import type { NativeLibrary, Runtime } from "../../runtime/runtime.ts";
import { caught } from "../../values/errors.ts";
import { FirewallError, MissingError } from "../firewall.ts";

const SYMBOLS = {
  syscall: { parameters: ["i32", "i32", "buffer", "u32"], result: "i32" },
  if_nametoindex: { parameters: ["buffer"], result: "u32" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** Number of bpf(2) by processor. asm/unistd.h. */
const SYSCALLS: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

/** Commands of bpf(2). linux/bpf.h. */
export const COMMANDS = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  programLoad: 5,
  programTestRun: 10,
  objectInfo: 15,
  linkCreate: 28,
  linkUpdate: 29,
} as const;

/** Kinds of maps: by key, and an array for each CPU. linux/bpf.h. */
const MAP_KINDS = { hash: 1, perCpuArray: 6 } as const;

/** Modes of XDP: in the driver, or behind it in the kernel. linux/if_link.h. */
export const MODES = { native: 1 << 2, generic: 1 << 1 } as const;

const TYPE_XDP = 6;
const ATTACH_XDP = 37;
/** Memory for as many elements as there are, not as there may be. */
const NO_PREALLOCATION = 1;
/** Most CPUs that Linux is built for. */
const MAX_CPUS = 8192;
const LOG_SIZE = 1 << 18;
/** Lines of the verifier's log that an error shows: the last ones name the fault. */
const SHOWN_LINES = 4;
/** "knock" as a name of 16 bytes, in words. */
const NAME = [0x636f6e6b, 0x6b, 0, 0] as const;
const ATTRIBUTES_SIZE = 120;
const INFO_SIZE = 64;
/** Offset of the interface in struct bpf_link_info. */
const INFO_INTERFACE_AT = 16;

/** Numbers of errno that are met here, in words. asm-generic/errno.h. */
const ERRORS: Readonly<Record<number, string>> = {
  1: "operation not permitted",
  12: "no memory",
  13: "permission denied",
  16: "busy",
  17: "exists",
  19: "no such device",
  22: "invalid argument",
  38: "not in this kernel",
  95: "not supported",
};

/** The kernel refused a call. */
export class BpfError extends FirewallError {
  readonly errno: number;

  constructor(what: string, errno: number, detail = "") {
    const words = ERRORS[errno] ?? `error ${errno}`;
    super(`cannot ${what}: ${words}${detail && `: ${detail}`}`);
    this.errno = errno;
  }

  /** True if the process lacks a right. */
  get lacksRight(): boolean {
    return this.errno === 1;
  }

  /** True if another program is attached there, in this mode or the other one. */
  get isTaken(): boolean {
    return this.errno === 16 || this.errno === 17;
  }
}

/** Field of a union bpf_attr: 4 bytes, 8 bytes, or the address of bytes that have an ArrayBuffer of their own. */
type Field = number | bigint | Uint8Array<ArrayBuffer>;

/** The kernel's BPF. What it makes is a file descriptor, closed by close(); no program that is started inherits one. */
export class Bpf {
  readonly #libc: NativeLibrary;
  readonly #number: number;
  /** This thread's, which makes all calls. */
  readonly #errno: Int32Array;
  /** Fields of the call at hand: what they point to stays. */
  #held: readonly Field[] = [];

  private constructor(libc: NativeLibrary, number: number) {
    this.#libc = libc;
    this.#number = number;
    const pointer = libc.call("__errno_location");
    this.#errno = new Int32Array(libc.memoryAt(pointer, 4));
  }

  /** Opens it; throws MissingError where it cannot be called. */
  static async open(runtime: Runtime): Promise<Bpf> {
    const number = SYSCALLS[runtime.arch];
    if (runtime.platform !== "linux" || number === undefined) {
      throw new MissingError("needs Linux on x64 or arm64");
    }
    const libc = await runtime.openLibrary("libc.so.6", SYMBOLS);
    if (!libc) throw new MissingError("cannot load libc.so.6");
    return new Bpf(libc, number);
  }

  /** Calls bpf(2): its result, and the union bpf_attr after it. Throws BpfError, which begins with `what`. */
  command(
    what: string,
    command: number,
    fields: readonly Field[],
  ): { readonly result: number; readonly attributes: DataView } {
    this.#held = fields;
    const bytes = this.#attributes(fields);
    const result = this.#libc.call(
      "syscall",
      this.#number,
      command,
      bytes,
      ATTRIBUTES_SIZE,
    ) as number;
    const errno = this.#errno[0]!;
    this.#held = [];
    if (result < 0) throw new BpfError(what, errno);
    return { result, attributes: new DataView(bytes.buffer) };
  }

  /** Makes a map. Throws BpfError. */
  createMap(
    kind: keyof typeof MAP_KINDS,
    keySize: number,
    valueSize: number,
    size: number,
  ): number {
    const flags = kind === "hash" ? NO_PREALLOCATION : 0;
    return this.command("make a map", COMMANDS.mapCreate, [
      ...[MAP_KINDS[kind], keySize, valueSize, size, flags, 0, 0],
      ...NAME,
    ]).result;
  }

  /** Sets an element. Throws BpfError. */
  update(map: number, key: Uint8Array, value: number): void {
    const fields = [map, inMemory(key), inMemory(word(value)), 0n];
    this.command("change a map", COMMANDS.mapUpdate, fields);
  }

  /** Deletes an element that is there. Throws BpfError. */
  delete(map: number, key: Uint8Array): void {
    const fields = [map, inMemory(key), 0n];
    this.command("change a map", COMMANDS.mapDelete, fields);
  }

  /** Count of all CPUs at a place of an array. Throws BpfError. */
  count(map: number, place: number): number {
    const counts = new BigUint64Array(new ArrayBuffer(MAX_CPUS * 8));
    const bytes = new Uint8Array(counts.buffer);
    const fields = [map, inMemory(word(place)), bytes, 0n];
    this.command("read a map", COMMANDS.mapLookup, fields);
    return Number(counts.reduce((sum, count) => sum + count, 0n));
  }

  /** Loads a program of XDP. Throws BpfError, with the end of the verifier's log. */
  load(program: Uint8Array): number {
    const license = inMemory(new TextEncoder().encode("MIT\0"));
    const attempt = (level: 0 | 1, log: Field) =>
      this.command("load the program", COMMANDS.programLoad, [
        ...[TYPE_XDP, program.length / 8, inMemory(program), license],
        ...[level, level * LOG_SIZE, log],
        ...[0, 0, ...NAME, 0, ATTACH_XDP],
      ]).result;
    return caught(BpfError, () => attempt(0, 0n), (error) => {
      if (error.lacksRight) throw error;
      // Again, for the log: it costs time.
      const log = inMemory(new Uint8Array(LOG_SIZE));
      return caught(BpfError, () => attempt(1, log), ({ errno }) => {
        throw new BpfError("load the program", errno, lastLines(log));
      });
    });
  }

  /** Attaches a program to an interface until the result is closed, also by the end of the process. Throws BpfError. */
  attach(program: number, index: number, mode: keyof typeof MODES): number {
    const fields = [program, index, ATTACH_XDP, MODES[mode]];
    return this.command("attach the program", COMMANDS.linkCreate, fields)
      .result;
  }

  /** Puts another program in the place of an attached one, in one step. Throws BpfError. */
  replace(link: number, program: number): void {
    const fields = [link, program, 0, 0];
    this.command("replace the program", COMMANDS.linkUpdate, fields);
  }

  /** Index of the interface that a program is attached to; 0 once that is gone. Throws BpfError. */
  interfaceOf(link: number): number {
    const info = inMemory(new Uint8Array(INFO_SIZE));
    const fields = [link, INFO_SIZE, info];
    this.command("look at a link", COMMANDS.objectInfo, fields);
    return new DataView(info.buffer).getUint32(INFO_INTERFACE_AT, true);
  }

  /** Index of an interface of this network namespace; 0 = there is none. */
  indexOf(name: string): number {
    const bytes = inMemory(new TextEncoder().encode(name + "\0"));
    return this.#libc.call("if_nametoindex", bytes) as number;
  }

  close(fd: number): void {
    this.#libc.call("close", fd);
  }

  /** Lets go of the C library. */
  end(): void {
    this.#libc.close();
  }

  /** A union bpf_attr: kernels take a longer one than their own, if its end is zero. */
  #attributes(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
    const bytes = inMemory(new Uint8Array(ATTRIBUTES_SIZE));
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const field of fields) {
      if (typeof field === "number") {
        view.setUint32(at, field, true);
        at += 4;
        continue;
      }
      const long = typeof field === "bigint"
        ? field
        : this.#libc.addressOf(field);
      at = at + 7 & ~7;
      view.setBigUint64(at, long, true);
      at += 8;
    }
    return bytes;
  }
}

/** A copy with an ArrayBuffer of its own: it stays where it is in memory. */
export function inMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** End of the verifier's log, as one line. */
function lastLines(log: Uint8Array): string {
  return new TextDecoder().decode(log.subarray(0, log.indexOf(0)))
    .split("\n").map((line) => line.trim()).filter(Boolean)
    .slice(-SHOWN_LINES).join("; ");
}
