/**
 * Sockets of every runtime: families of addresses, and the collection of
 * garbage while packets come: memory that the engines do not count.
 * @module
 */

import process from "node:process";
import { type Endpoint, isIpv4 } from "../../values/address.ts";
import { systemError, translatingAsync } from "../errors.ts";
import type { Datagrams, Stoppable } from "../runtime.ts";
import { system } from "../shared.ts";

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
 * Keeps memory flat under load: counts what makes garbage, by `note`, and has
 * it collected now and then. Keys, MACs and ciphers of node:crypto, and
 * connections, hold memory that V8 and JavaScriptCore do not count, so their
 * collectors come late for them: without this a server under Deno grows by some
 * 30 MB in its first 10,000 knocks.
 */
export function collectGarbage(): Stoppable & { note(): void } {
  /** Made when it is due: making it takes a client longer than its knock. */
  let collect: (() => void) | null = null;
  let made = 0;
  let again = 0;
  let madeBefore = 0;
  /** Collects what a load leaves, and what is left when it has ended. */
  const look = () => {
    const isQuiet = made === madeBefore;
    madeBefore = made;
    const isDue = made >= (isQuiet ? COLLECT_QUIET_FROM : COLLECT_FROM);
    if (isDue) again = COLLECT_AGAIN;
    else if (isQuiet && again > 0) again--;
    else return;
    made = madeBefore = 0;
    collect ??= collector();
    collect();
  };
  return { ...system.every(LOOK_MS, look), note: () => void made++ };
}

/** Makes the collector of garbage; Node.js has neither Deno nor Bun. */
export function collector(): () => void {
  const { Bun: bun } = globalThis as { Bun?: { gc(sync: boolean): void } };
  if (bun) return () => bun.gc(true);
  const collect = exposedCollector();
  // malloc_trim(3): freed memory goes back to the system. Takes some 0.3 ms.
  const glibc = "Deno" in globalThis
    ? openLibc({ malloc_trim: { parameters: ["usize"], result: "i32" } })
    : null;
  return () => {
    collect();
    glibc?.malloc_trim(0n);
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
