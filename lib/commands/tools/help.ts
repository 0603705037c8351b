import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import {
  COMMAND_NAMES,
  type CommandName,
  SUMMARIES,
} from "../../values/program.ts";
import { nearest } from "../../values/text.ts";
import { type Commands, parseOptions, takePositionals } from "../command.ts";

const WIDTH = Math.max(...COMMAND_NAMES.map((name) => name.length));

const LIST = Object.entries(SUMMARIES)
  .map(([name, summary]) => `    ${name.padEnd(WIDTH)}  ${summary}`)
  .join("\n");

export const help = `Usage:
    knock COMMAND [ARGUMENTS]
    knock PROFILE [OPTIONS]

Hides network services and opens them, for a limited time, to clients that
prove their identity. One program is the server and the client.

Commands:
${LIST}

Exit status: 0 done, 1 it failed, 2 usage or configuration.
\`knock help COMMAND\` explains a command.

Example:
    $ knock serve                    # on the server
    $ knock client add alice         # prints one line for alice
    $ knock import                   # at the client: asks for the line
    $ knock alice && ssh HOST
`;

/** Runs `knock help`, and returns the exit status. */
export async function run(
  args: string[],
  runtime: Runtime,
  commands: Commands,
): Promise<number> {
  // `help client add` asks for `help client`, which explains it.
  const [name = "help"] = takePositionals(
    parseOptions(args, help),
    ["COMMAND", "SUBCOMMAND"],
    2,
  );
  if (!COMMAND_NAMES.includes(name)) {
    throw new UsageError(
      `there is no command "${name}"`,
      nearest(name, COMMAND_NAMES),
    );
  }
  runtime.out((await commands[name as CommandName]()).help);
  return 0;
}
