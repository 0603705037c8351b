/**
 * The prefilter at the interfaces themselves, by XDP. The programs are attached
 * by links that this process holds: its end, however it comes, takes them away.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { ADDRESS_SIZE, addressToBytes } from "../../values/address.ts";
import { caught } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { type Facing, FirewallError, type Prefilter } from "../firewall.ts";
import { Bpf, BpfError, type MODES } from "./bpf.ts";
import { filterProgram, REASONS, TAG_KINDS, TAG_SIZE } from "./program.ts";

/** Twice the windows of the longest `max_skew`, a day. */
const MAX_TAGS = 8192;
/** Beyond these nft drops alone. */
const MAX_ADDRESSES = 4096;

interface Attached {
  readonly link: number;
  readonly index: number;
  readonly mode: keyof typeof MODES;
}

/** XDP at the interfaces that strangers come in by. */
export class Xdp {
  readonly #runtime: Runtime;
  #filter: Filter | null = null;
  readonly #attached = new Map<string, Attached>();
  /** Why an interface, or every one, has no program. */
  #problems: string[] = [];
  /** Interfaces at the last set(). */
  #wanted: Facing | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Interfaces that have the program, with its mode: "eth0 (native)". */
  get interfaces(): string[] {
    return [...this.#attached].map(([name, { mode }]) => `${name} (${mode})`)
      .sort();
  }

  /** Why it is not at every interface; null = it is. */
  get problem(): string | null {
    return this.#problems.join("; ") || null;
  }

  /**
   * Drops junk to these ports and addresses at these interfaces from now on.
   * Where it cannot, nothing is dropped there, and `problem` says why.
   */
  async set(prefilter: Prefilter, facing: Facing | null): Promise<void> {
    this.#wanted = facing;
    this.#problems = [];
    try {
      this.#filter ??= new Filter(await Bpf.open(this.#runtime));
      const isNew = this.#filter.set(prefilter, facing?.addresses ?? []);
      this.#attach(this.#filter, facing?.devices ?? [], isNew);
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error;
      // Tags that are not these would drop knocks.
      this.close();
      this.#problems = [`xdp: ${explain(error)}`];
    }
    if (!facing) this.#problems = ["xdp: no interface to be at"];
  }

  /** True if nothing has changed at the interfaces since the last set(). */
  fits(facing: Facing | null): boolean {
    if (JSON.stringify(facing) !== JSON.stringify(this.#wanted)) return false;
    const bpf = this.#filter?.bpf;
    return !bpf ||
      [...this.#attached].every(([name, one]) => isThere(bpf, name, one));
  }

  /** Frames dropped so far, by reason. */
  counts(): Readonly<Record<string, number>> {
    return this.#filter?.counts() ?? {};
  }

  /** Takes all of it away. */
  close(): void {
    const bpf = this.#filter?.bpf;
    for (const { link } of this.#attached.values()) bpf?.close(link);
    this.#attached.clear();
    this.#problems = [];
    this.#filter?.close();
    this.#filter = null;
  }

  #attach(filter: Filter, devices: readonly string[], isNew: boolean): void {
    const { bpf, program } = filter;
    for (const [name, one] of this.#attached) {
      if (devices.includes(name) && isThere(bpf, name, one)) {
        if (isNew) bpf.replace(one.link, program);
        continue;
      }
      bpf.close(one.link);
      this.#attached.delete(name);
    }
    for (const name of devices) {
      if (this.#attached.has(name)) continue;
      try {
        this.#attached.set(name, attach(bpf, program, name));
      } catch (error) {
        if (!(error instanceof FirewallError)) throw error;
        this.#problems.push(`${escapeUnsafe(name)}: ${explain(error)}`);
      }
    }
    filter.closeOld();
  }
}

/** True if a program is still at the interface of this name. Throws BpfError. */
function isThere(bpf: Bpf, name: string, { link, index }: Attached): boolean {
  return bpf.indexOf(name) === index && bpf.interfaceOf(link) === index;
}

/** Attaches a program in the driver, or else behind it. Throws BpfError. */
function attach(bpf: Bpf, program: number, name: string): Attached {
  const index = bpf.indexOf(name);
  const as = (mode: Attached["mode"]): Attached => {
    return { link: bpf.attach(program, index, mode), index, mode };
  };
  return caught(BpfError, () => as("native"), (error) => {
    if (error.lacksRight) throw error;
    return as("generic");
  });
}

/** The reason of a failure, for people. */
function explain(error: FirewallError): string {
  if (!(error instanceof BpfError)) return error.message;
  if (error.lacksRight) {
    return `${error.message}: needs CAP_BPF and CAP_NET_ADMIN`;
  }
  return error.isTaken
    ? "another XDP program is attached: nft drops junk there"
    : error.message;
}

/** The maps and the program in the kernel: the maps stay, whatever the ports are. */
export class Filter {
  readonly bpf: Bpf;
  readonly #tags: Elements;
  readonly #addresses: Elements;
  readonly #counters: number;
  readonly #fds: number[] = [];
  /** The program, behind the one that it is to replace. */
  readonly #programs: number[] = [];
  #ports: string | null = null;

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
    return this.#programs.at(-1)!;
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
    if (this.#ports === ports.join()) return false;
    this.#programs.push(this.bpf.load(filterProgram({
      ports,
      tags: this.#tags.map,
      addresses: this.#addresses.map,
      counters: this.#counters,
    })));
    this.#ports = ports.join();
    return true;
  }

  /** Closes the program that another one has replaced everywhere. */
  closeOld(): void {
    for (const fd of this.#programs.splice(0, this.#programs.length - 1)) {
      this.bpf.close(fd);
    }
  }

  /** Frames dropped so far, by reason. Throws BpfError. */
  counts(): Record<string, number> {
    return Object.fromEntries(REASONS.map((reason, place) => [
      reason,
      this.bpf.count(this.#counters, place),
    ]));
  }

  close(): void {
    for (const fd of [...this.#programs, ...this.#fds]) this.bpf.close(fd);
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
