import type { Runtime } from "../../runtime/runtime.ts";
import { VERSION } from "../../values/program.ts";
import { parseOptions, takePositionals } from "../command.ts";

export const help = `Usage:
    knock version

Says which version of knock this is, and what it runs on.

Example:
    $ knock version
    knock ${VERSION} (deno 2.9.6, linux)
`;

/** Runs `knock version`, and returns the exit status. */
export function run(args: string[], runtime: Runtime): Promise<number> {
  takePositionals(parseOptions(args, help), []);
  const { name, version, platform } = runtime;
  runtime.out(`knock ${VERSION} (${name} ${version}, ${platform})\n`);
  return Promise.resolve(0);
}
