/** knock: picks a command, prints its errors, sets the exit status. */

import { runCommand } from "./lib/commands/table.ts";
import type { Runtime } from "./lib/runtime/runtime.ts";

async function chooseRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) {
    return (await import("./lib/runtime/deno.ts")).denoRuntime;
  }
  return (await import("./lib/runtime/bun.ts")).nodeRuntime;
}

/** Runs the command line of this process, and ends it with the exit status. */
export async function main(): Promise<never> {
  const runtime = await chooseRuntime();
  return runtime.exit(await runCommand(runtime.args, runtime));
}

// No top-level await: Bun makes bytecode only of programs without one, and
// with it a knock takes half the time.
if (import.meta.main) main();
