/**
 * The prefilter at the interfaces themselves, by XDP. The programs are attached
 * by links that this process holds: its end, however it comes, takes them away.
 * @module
 */

import type { Runtime } from "../../runtime/runtime.ts";
import { caught } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { type Facing, FirewallError, type Prefilter } from "../firewall.ts";
import { Bpf, BpfError, type MODES } from "./bpf.ts";
import { Filter } from "./filter.ts";

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
