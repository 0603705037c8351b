/**
 * Sockets of every runtime: families of addresses, and the collection of
 * garbage while packets come: memory that the engines do not count.
 * @module
 */

import process from "node:process";
import { type Endpoint, isIpv4 } from "../../values/address.ts";
import { systemError, translatingAsync } from "../errors.ts";
import type { Datagrams } from "../runtime.ts";

/** Binds "::" to IPv4 alone on a machine that has no IPv6. */
export async function withoutIpv6<T>(
  host: string,
  bind: (host: string) => T | Promise<T>,
): Promise<T> {
  try {
    return await bind(host);
  } catch (error) {
    const failed = systemError(error);
    if (host !== "::" || failed.code === "EADDRINUSE") throw failed;
    return await translatingAsync(async () => await bind("0.0.0.0"));
  }
}

/** A host for a socket that is bound to another: IPv4 is mapped for one of IPv6. */
export function mapped(bound: string, host: string): string {
  return !isIpv4(bound) && isIpv4(host) ? `::ffff:${host}` : host;
}

/** Two sockets at one port, one for each family. */
export function bothFamilies(
  at: Endpoint,
  ipv4: Datagrams,
  ipv6: Datagrams,
): Datagrams {
  return {
    at,
    send: (bytes, to) => (isIpv4(to.host) ? ipv4 : ipv6).send(bytes, to),
    close: async () => {
      await Promise.all([ipv4.close(), ipv6.close()]);
    },
  };
}

/** Calls of the C library of Linux, by Deno; null where it cannot be used. */
export function openLibc<S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] | null {
  const ffi = Deno.permissions.querySync({ name: "ffi" }).state;
  if (ffi !== "granted" || Deno.build.os !== "linux") return null;
  try {
    return Deno.dlopen("libc.so.6", symbols).symbols;
  } catch {
    return null; // another C library
  }
}

/** Interval of checks for garbage, milliseconds. */
const LOOK_MS = 250;
/** Datagrams since the last collection from which on the next is due; it takes some 5 ms. */
const COLLECT_FROM = 250;
/** The same when none has come lately. */
const COLLECT_QUIET_FROM = 25;

/** Further collections after a load: sockets closed last are not garbage at once. */
const COLLECT_AGAIN = 8;

/**
 * Keeps memory flat under load: counts what makes garbage, and has it collected
 * now and then. Keys, MACs and ciphers of node:crypto, and connections, hold
 * memory that V8 and JavaScriptCore do not count, so their collectors come late
 * for them: without this a server under Deno grows by some 30 MB in its first
 * 10,000 knocks.
 */
export class Garbage {
  /** Made when it is due: making it takes a client longer than its knock. */
  #collect: (() => void) | null = null;
  readonly #timer: ReturnType<typeof setInterval>;
  #made = 0;
  #again = 0;
  #madeBefore = 0;

  constructor() {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    (this.#timer as { unref?: () => void }).unref?.();
    if (IS_DENO) Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Something was handled that may have left garbage. */
  note(): void {
    this.#made++;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Collects what a load leaves, and what is left when it has ended. */
  #look(): void {
    const isQuiet = this.#made === this.#madeBefore;
    this.#madeBefore = this.#made;
    const isDue = this.#made >= (isQuiet ? COLLECT_QUIET_FROM : COLLECT_FROM);
    if (isDue) this.#again = COLLECT_AGAIN;
    else if (isQuiet && this.#again > 0) this.#again--;
    else return;
    this.#made = this.#madeBefore = 0;
    this.#collect ??= collector();
    this.#collect();
  }
}

const IS_DENO = "Deno" in globalThis;

function collector(): () => void {
  if (!IS_DENO) {
    const { gc } =
      (globalThis as unknown as { Bun: { gc(sync: boolean): void } })
        .Bun;
    return () => gc(true);
  }
  const collect = exposedCollector();
  const giveBack = allocatorTrim();
  return () => {
    collect();
    giveBack();
  };
}

/** V8's collector, which a program only sees in a context made after this flag. */
function exposedCollector(): () => void {
  try {
    process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
    const { runInNewContext } = process.getBuiltinModule("node:vm");
    const collect: unknown = runInNewContext("gc");
    if (typeof collect === "function") return () => void collect();
  } catch {
    // Then memory grows a little more.
  }
  return () => {};
}

/** glibc's malloc_trim(3): freed memory goes back to the system. Takes some 0.3 ms. */
function allocatorTrim(): () => void {
  const libc = openLibc({
    malloc_trim: { parameters: ["usize"], result: "i32" },
  });
  return () => void libc?.malloc_trim(0n);
}
