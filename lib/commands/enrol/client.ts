import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import { nearest } from "../../values/text.ts";
import type { OptionNames } from "../command.ts";
import { addClient, addOptionNames } from "./add.ts";
import { fileOptionNames, listClients, showClient } from "./list.ts";
import { removeClient } from "./remove.ts";

/** The text of `knock help client`. */
export const help = `Usage:
    knock client add NAME [--open SERVICE,...] [--for DURATION]
                          [--key PUBLIC] [--server HOST[:PORT]]
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
    -c, --config FILE          The server's configuration. Default:
                               KNOCK_CONFIG, then /etc/knock/server.yaml for
                               root and ~/.config/knock/server.yaml for others.
    -o, --open SERVICE,...     What it may open: services, or ports such as
                               tcp/8080-8090. Default: all services.
    -f, --for DURATION         For how long when it does not say, such as 1h.
    -k, --key PUBLIC           The public key of a client that made its own
                               pair with \`knock keygen\`.
    -s, --server HOST[:PORT]   How the client reaches this server. Default:
                               this machine's own address.
        --code                 Want a one-time code with every knock, too. Its
                               secret goes into the enrolment and, beside the
                               configuration, into code/NAME.secret; for an
                               authenticator app it is printed as a URI.
        --qr                   Draw the enrolment as a QR code on standard
                               error, and the secret of the codes as another.
        --svg FILE             Draw the enrolment as a QR code in a new file.
        --dialect NAME         The client is another tool's: fwknop prints a
                               stanza for its .fwknoprc; openme prints the
                               client file of its command line, and --qr is
                               what its apps scan; openspa writes NAME.ospa in
                               this folder. Default: knock.

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

/** It has none of its own: those of its subcommands come behind their names. */
export const optionNames = {};

/** The names of the options of each subcommand. */
export const subcommands = {
  add: addOptionNames,
  list: fileOptionNames,
  show: fileOptionNames,
  remove: fileOptionNames,
} as const satisfies Record<keyof typeof SUBCOMMANDS, OptionNames>;

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
