/** The filter in the kernel: the program, and what it looks up. */

import { ADDRESS_SIZE, addressToBytes } from "../../values/address.ts";
import type { Prefilter } from "../firewall.ts";
import type { Bpf } from "./bpf.ts";
import { filterProgram, REASONS, TAG_KINDS } from "./program.ts";

/** Twice the windows of the longest `max_skew`, a day. */
const MAX_TAGS = 8192;
/** Beyond these nft drops alone. */
const MAX_ADDRESSES = 4096;
const TAG_SIZE = 8;

/** The maps and the program in the kernel: the maps stay, whatever the ports are. */
export class Filter {
  readonly bpf: Bpf;
  readonly #tags: Elements;
  readonly #addresses: Elements;
  readonly #counters: number;
  readonly #fds: number[] = [];
  #program: number | null = null;
  #old: number | null = null;
  #ports = "";

  /** Throws BpfError. */
  constructor(bpf: Bpf) {
    this.bpf = bpf;
    const make = (...shape: Parameters<Bpf["createMap"]>) => {
      const map = bpf.createMap(...shape);
      this.#fds.push(map);
      return map;
    };
    try {
      const tags = make("hash", TAG_SIZE, 4, MAX_TAGS);
      const addresses = make("hash", ADDRESS_SIZE, 4, MAX_ADDRESSES);
      this.#tags = new Elements(bpf, tags);
      this.#addresses = new Elements(bpf, addresses);
      this.#counters = make("perCpuArray", 4, 8, REASONS.length);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get program(): number {
    return this.#program!;
  }

  /** Sets tags and addresses in place; true if it has another program now. Throws BpfError. */
  set(
    { ports, tags, webTags = [] }: Prefilter,
    addresses: readonly string[],
  ): boolean {
    this.#tags.set([
      ...webTags.map((tag) => [tag, TAG_KINDS.web] as const),
      ...tags.map((tag) => [tag, TAG_KINDS.knock] as const),
    ]);
    this.#addresses.set(
      addresses.flatMap((address) => addressToBytes(address) ?? [])
        .slice(0, MAX_ADDRESSES).map((bytes) => [bytes, 1] as const),
    );
    if (this.#program !== null && this.#ports === ports.join()) return false;
    const program = this.bpf.load(filterProgram({
      ports,
      tags: this.#tags.map,
      addresses: this.#addresses.map,
      counters: this.#counters,
    }));
    this.#old = this.#program;
    this.#program = program;
    this.#ports = ports.join();
    return true;
  }

  /** Closes the program that another one has replaced everywhere. */
  closeOld(): void {
    if (this.#old !== null) this.bpf.close(this.#old);
    this.#old = null;
  }

  /** Frames dropped so far, by reason. Throws BpfError. */
  counts(): Record<string, number> {
    return Object.fromEntries(REASONS.map((reason, place) => [
      reason,
      this.bpf.count(this.#counters, place),
    ]));
  }

  close(): void {
    this.closeOld();
    if (this.#program !== null) this.bpf.close(this.#program);
    for (const fd of this.#fds) this.bpf.close(fd);
    this.bpf.end();
  }
}

class Elements {
  readonly map: number;
  readonly #bpf: Bpf;
  /** Value and key of each, by the key in hexadecimal. */
  #there = new Map<string, readonly [key: Uint8Array, value: number]>();

  constructor(bpf: Bpf, map: number) {
    this.#bpf = bpf;
    this.map = map;
  }

  /** Makes it these; what is new is there before what is old goes. Throws BpfError. */
  set(all: readonly (readonly [key: Uint8Array, value: number])[]): void {
    const wanted = new Map(all.map((one) => [one[0].toHex(), one]));
    for (const [hex, [key, value]] of wanted) {
      if (this.#there.get(hex)?.[1] === value) continue;
      this.#bpf.update(this.map, key, value);
      this.#there.set(hex, [key, value]);
    }
    for (const [hex, [key]] of this.#there) {
      if (wanted.has(hex)) continue;
      this.#bpf.delete(this.map, key);
      this.#there.delete(hex);
    }
  }
}
