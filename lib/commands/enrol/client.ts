import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import { nearest } from "../../values/text.ts";
import { ADD_OPTIONS, addClient } from "./add.ts";
import { FILE_OPTION, listClients, showClient } from "./list.ts";
import { removeClient } from "./remove.ts";

/** The text of `knock help client`. */
export const help = `Usage:
    knock client add NAME [--open SERVICE,...] [--for DURATION]
                          [--key PUBLIC] [--server HOST[:PORT]]
                          [--web URL [--auto] [--then URL] [--doh URL]]
                          [--code] [--qr] [--svg FILE] [--dialect NAME]
    knock client list
    knock client show NAME
    knock client remove NAME

Enrols clients in the server's configuration, and shows or removes them. The
file keeps its comments and its layout. Secrets are never shown again.

\`add\` prints one line, the enrolment: it holds the client's secrets, so give it
to nobody but the client, where \`knock import\` stores it. \`remove\` also
removes the files beside the configuration that \`add\` made.

Options:
${ADD_OPTIONS}
Example:
    $ sudo knock client add laptop --open ssh --server home.example.org
    knock://home.example.org:62201/?server=…&key=…&psk=…#laptop
`;

const SUBCOMMANDS = {
  add: addClient,
  list: listClients,
  show: showClient,
  remove: removeClient,
} as const;

/** The options of each subcommand. */
export const subcommands = {
  add: ADD_OPTIONS,
  list: FILE_OPTION,
  show: FILE_OPTION,
  remove: FILE_OPTION,
} as const satisfies Record<keyof typeof SUBCOMMANDS, string>;

/** Runs `knock client`. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const [name, ...rest] = args;
  const names = Object.keys(SUBCOMMANDS);
  if (name === undefined) {
    throw new UsageError(
      "add, list, show or remove is missing",
      "`knock help client` explains them",
    );
  }
  if (!names.includes(name)) {
    throw new UsageError(
      `knock client must be add, list, show or remove, got "${name}"`,
      nearest(name, names),
    );
  }
  return SUBCOMMANDS[name as keyof typeof SUBCOMMANDS](rest, runtime);
}
