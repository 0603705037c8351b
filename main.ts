/** knock: picks a command, prints its errors, sets the exit status. */

import type { Runtime } from "./lib/runtime/runtime.ts";

async function chooseRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) {
    return (await import("./lib/runtime/deno.ts")).denoRuntime;
  }
  return (await import("./lib/runtime/bun.ts")).nodeRuntime;
}

/** Runs the command line of this process, and ends it with the exit status. */
export async function main(): Promise<never> {
  try {
    // Not loaded statically: what fails then ends in the runtime's own words.
    const { runCommand } = await import("./lib/commands/table.ts");
    const runtime = await chooseRuntime();
    return runtime.exit(await runCommand(runtime.args, runtime));
  } catch (error) {
    if (!isMissingPackage(error)) throw error;
    const { default: process } = await import("node:process");
    const installer = "Deno" in globalThis ? "deno install" : "bun install";
    process.stderr.write(
      "knock: error: a package that it is built on is not on this machine, " +
        "and cannot be fetched\n" +
        `knock: hint: run \`${installer}\` in the checkout, with a network\n`,
    );
    return process.exit(1);
  }
}

/** True if an import failed for a package, and not for a file of this project. */
function isMissingPackage(error: unknown): boolean {
  return error instanceof Error &&
    /^(Failed caching npm|Error getting response|error sending request|Could not find.* npm|Cannot find (package|module) '@|\[ERR_MODULE|npm package)/i
      .test(error.message);
}

// No top-level await: Bun makes bytecode only of programs without one, and
// with it a knock takes half the time.
if (import.meta.main) main();
