/** A C library whose bpf(2) has maps, programs and links, but no kernel: for failures that a kernel seldom has. */

import { COMMANDS } from "../../lib/firewall/xdp/bpf.ts";
import type { NativeLibrary } from "../../lib/runtime/runtime.ts";

/** Command of bpf(2) by name, and for links their mode: "linkCreate native". */
export type FakeCall = keyof typeof COMMANDS | "linkCreate native";

const NATIVE = 4;

/** Such a library, and the state of its kernel. */
export class FakeBpf implements NativeLibrary {
  /** Elements of each map: key -> value, in hexadecimal and as a number. */
  readonly maps = new Map<number, Map<string, number>>();
  readonly programs = new Map<number, Uint8Array>();
  /** Program, interface and mode of each link. */
  readonly links = new Map<
    number,
    { program: number; index: number; isNative: boolean }
  >();
  /** Index of each interface. */
  readonly interfaces = new Map<string, number>();
  /** Calls that fail, with their errno. */
  readonly failing = new Map<FakeCall, number>();
  readonly calls: string[] = [];
  readonly #errno = new Int32Array(1);
  readonly #memory = new Map<bigint, Uint8Array>();
  #address = 0x1000n;
  #fd = 10;

  call(symbol: string, ...values: unknown[]): unknown {
    switch (symbol) {
      case "__errno_location":
        return 1;
      case "if_nametoindex": {
        const name = new TextDecoder().decode(values[0] as Uint8Array);
        return this.interfaces.get(name.slice(0, -1)) ?? 0;
      }
      case "close":
        for (const all of [this.maps, this.programs, this.links]) {
          all.delete(values[0] as number);
        }
        return 0;
      case "syscall":
        return this.#bpf(values[1] as number, values[2] as Uint8Array);
    }
    throw new Error(`no function ${symbol}`);
  }

  #bpf(command: number, attributes: Uint8Array): number {
    const view = new DataView(attributes.buffer);
    const u32 = (at: number) => view.getUint32(at, true);
    const bytesAt = (at: number) =>
      this.#memory.get(view.getBigUint64(at, true))!;
    const [name] = Object.entries(COMMANDS)
      .find(([, number]) => number === command)!;
    const isNative = u32(12) === NATIVE;
    this.calls.push(name);
    const errno = this.failing.get(name as FakeCall) ??
      (name === "linkCreate" && isNative
        ? this.failing.get("linkCreate native")
        : undefined);
    if (errno !== undefined) return this.#fail(errno);
    switch (name as keyof typeof COMMANDS) {
      case "mapCreate":
        this.maps.set(++this.#fd, new Map());
        return this.#fd;
      case "mapUpdate": {
        const value = new DataView(bytesAt(16).buffer).getUint32(0, true);
        this.maps.get(u32(0))!.set(bytesAt(8).toHex(), value);
        return 0;
      }
      case "mapDelete":
        return this.maps.get(u32(0))!.delete(bytesAt(8).toHex())
          ? 0
          : this.#fail(2);
      case "mapLookup":
        new DataView(bytesAt(16).buffer).setBigUint64(0, 3n, true);
        new DataView(bytesAt(16).buffer).setBigUint64(8, 4n, true);
        return 0;
      case "programLoad":
        this.programs.set(++this.#fd, bytesAt(8));
        return this.#fd;
      case "linkCreate":
        if ([...this.links.values()].some(({ index }) => index === u32(4))) {
          return this.#fail(16);
        }
        this.links.set(++this.#fd, {
          program: u32(0),
          index: u32(4),
          isNative,
        });
        return this.#fd;
      case "linkUpdate":
        this.links.get(u32(0))!.program = u32(4);
        return 0;
      case "objectInfo": {
        const { index } = this.links.get(u32(0))!;
        new DataView(bytesAt(8).buffer).setUint32(16, index, true);
        return 0;
      }
      default:
        return this.#fail(38);
    }
  }

  #fail(errno: number): number {
    this.#errno[0] = errno;
    return -1;
  }

  addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
    this.#memory.set(++this.#address, bytes);
    return this.#address;
  }

  textAt(): string {
    return "";
  }

  memoryAt(): ArrayBuffer {
    return this.#errno.buffer;
  }

  close(): void {}
}
