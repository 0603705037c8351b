import { loadConfig } from "../config/load.ts";
import { needConfig } from "../config/places.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { parseOptions, takePositionals } from "./command.ts";
import { escapeUnsafe } from "../values/printable.ts";

/** The text of `knock help check`. */
export const help = `Usage:
    knock check [FILE]

Validates a server's configuration with its key file: prints "configuration
OK", or every mistake on standard error and ends with 2. What is allowed and
wants a look is a warning on standard error, and changes nothing else.

Options:
    -c, --config FILE    The same as FILE.

FILE defaults to KNOCK_CONFIG, then to /etc/knock/server.yaml for root and
~/.config/knock/server.yaml for others.

Example:
    $ knock check /etc/knock/server.yaml
    configuration OK
`;

/** The names of its options. */
export const optionNames = { values: { config: "c" } };

/** Runs `knock check`. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const [file] = takePositionals(options, ["FILE"], 1);
  const config = loadConfig(
    runtime,
    needConfig(runtime, file ?? options.value("config")),
  );
  for (const warning of config.warnings) {
    runtime.err(
      `knock: warning: ${escapeUnsafe(`${config.file}: ${warning}`)}\n`,
    );
  }
  runtime.out("configuration OK\n");
  return 0;
}
