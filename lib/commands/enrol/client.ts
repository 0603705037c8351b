import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import { nearest } from "../../values/text.ts";
import { ADD_OPTIONS, addClient } from "./add.ts";
import { LIST_OPTIONS, listClients, showClient } from "./list.ts";
import {
  REMOVE_OPTIONS,
  removeClient,
  SET_ALONE,
  SET_OPTIONS,
  setClient,
} from "./change.ts";

/** The text of `knock help client`. */
export const help = `Usage:
    knock client add NAME [--open SERVICE,...] [--for DURATION]
                          [--key PUBLIC] [--server HOST[:PORT]]
                          [--web URL [--auto] [--then URL] [--doh URL]]
                          [--code] [--qr] [--svg FILE] [--dialect NAME]
    knock client set NAME [--open SERVICE,...|all] [--for DURATION]
                          [--max-for DURATION] [--expires TIME|never]
                          [--web | --no-web]
    knock client list [--json]
    knock client show NAME [--json]
    knock client remove NAME

Enrols clients in the server's configuration, shows, changes and removes them.
The files keep their comments and their layout; clients may also be in files of
their own, clients.d/*.yaml. A running server reloads. Secrets are never shown
again.

\`add\` prints one line, the enrolment. It contains the client's secrets: give it
to nobody but the client, where \`knock import\` stores it. If it cannot be
printed, nobody is enrolled. With a fleet, clients go into its engine, for every
gateway; with --local, into this file alone. \`remove\` also removes the files
beside the configuration that \`add\` made.

Options:
${ADD_OPTIONS}
Options of \`set\`, beside --config, --open, --for, and --web without a URL:
${SET_ALONE}
Options of \`list\` and \`show\`, beside --config:
        --json                 Print JSON, a list or one object.

Example:
    $ sudo knock client add laptop --open ssh --server home.example.org
    knock://home.example.org:62201/?server=…&key=…&psk=…#laptop
`;

const SUBCOMMANDS = {
  add: addClient,
  set: setClient,
  list: listClients,
  show: showClient,
  remove: removeClient,
} as const;

/** The options of each subcommand. */
export const subcommands = {
  add: ADD_OPTIONS,
  set: SET_OPTIONS,
  list: LIST_OPTIONS,
  show: LIST_OPTIONS,
  remove: REMOVE_OPTIONS,
} as const satisfies Record<keyof typeof SUBCOMMANDS, string>;

/** Words that other programs use for these. */
const SYNONYMS: Readonly<Record<string, keyof typeof SUBCOMMANDS>> = {
  new: "add",
  edit: "set",
  modify: "set",
  ls: "list",
  rm: "remove",
  del: "remove",
  delete: "remove",
};

/** Runs `knock client`. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const [name, ...rest] = args;
  const names = Object.keys(SUBCOMMANDS);
  if (name === undefined) {
    throw new UsageError(
      "add, set, list, show or remove is missing",
      "`knock help client` explains them",
    );
  }
  if (!names.includes(name)) {
    throw new UsageError(
      `knock client must be add, set, list, show or remove, got "${name}"`,
      Object.hasOwn(SYNONYMS, name)
        ? `did you mean "${SYNONYMS[name]}"?`
        : nearest(name, names),
    );
  }
  return SUBCOMMANDS[name as keyof typeof SUBCOMMANDS](rest, runtime);
}
