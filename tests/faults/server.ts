/**
 * The program with a fault: `knock` as it is, but for what a file of JSON,
 * named by KNOCK_FAULTS_FILE, says at that moment. It is looked at again every
 * 20 ms.
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { runCommand } from "../../lib/commands/table.ts";
import type { NativeLibrary, Runtime } from "../../lib/runtime/runtime.ts";
import { runtime } from "../fakes/runtime.ts";

/** Faults that are put in. */
export interface Faults {
  /** Error of the clock. */
  readonly clockMs?: number;
  /** Calls of nft that fail, of three in a row. */
  readonly nftFails?: 0 | 1 | 2;
  /** Without libnftables, so that the program nft is forked. */
  readonly forked?: boolean;
}

const LOOK_MS = 20;

const file = process.env["KNOCK_FAULTS_FILE"]!;
let faults: Faults = {};
let calls = 0;

function look(): void {
  try {
    faults = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // It is being written.
  }
}

function fails(): boolean {
  return ++calls % 3 < (faults.nftFails ?? 0);
}

function faulty(library: NativeLibrary): NativeLibrary {
  return {
    ...library,
    call: (symbol, ...values) =>
      symbol === "nft_run_cmd_from_buffer" && fails()
        ? 1
        : library.call(symbol, ...values),
    close: () => library.close(),
  };
}

look();
setInterval(look, LOOK_MS);

const withFaults: Runtime = {
  ...runtime,
  nowMs: () => runtime.nowMs() + (faults.clockMs ?? 0),
  openLibrary: async (name, symbols) => {
    if (!name.includes("nftables")) return runtime.openLibrary(name, symbols);
    if (faults.forked) return null;
    const library = await runtime.openLibrary(name, symbols);
    return library && faulty(library);
  },
  run: (argv, options) =>
    argv[0]!.endsWith("/nft") && fails()
      ? Promise.resolve({ code: 1, stdout: "", stderr: "Error: out of luck\n" })
      : runtime.run(argv, options),
};

runtime.exit(await runCommand(runtime.args, withFaults));
