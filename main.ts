/** knock: picks a command, prints its errors, sets the exit status. */

import { runCommand } from "./lib/commands/table.ts";
import type { Runtime } from "./lib/runtime/runtime.ts";

async function chooseRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) {
    return (await import("./lib/runtime/deno.ts")).denoRuntime;
  }
  return (await import("./lib/runtime/node.ts")).nodeRuntime;
}

if (import.meta.main) {
  const runtime = await chooseRuntime();
  runtime.exit(await runCommand(runtime.args, runtime));
}
