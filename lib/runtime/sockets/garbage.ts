/** Collection of garbage while packets come: memory that the engines do not count. */

import process from "node:process";

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
  const isAllowed =
    Deno.permissions.querySync({ name: "ffi" }).state === "granted";
  try {
    if (!isAllowed || Deno.build.os !== "linux") return () => {};
    const { symbols } = Deno.dlopen("libc.so.6", {
      malloc_trim: { parameters: ["usize"], result: "i32" },
    });
    return () => void symbols.malloc_trim(0n);
  } catch {
    return () => {}; // another C library
  }
}
