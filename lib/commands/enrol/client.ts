import type { Runtime } from "../../runtime/runtime.ts";
import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import { UsageError } from "../../values/errors.ts";
import { nearest, wrapLine } from "../../values/text.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { addClient } from "./add.ts";
import { removeClient, setClient } from "./change.ts";
import { listClients, showClient } from "./list.ts";

/** The option of each subcommand. */
const FILE_OPTION =
  `    -c, --config FILE          The server's configuration. Default:
                               KNOCK_CONFIG, then /etc/knock/server.yaml for
                               root and ~/.config/knock/server.yaml for others.
`;

/** The option of those subcommands that a fleet changes. */
const LOCAL_OPTION =
  `        --local                With a fleet: this gateway's file alone.
`;

/** Column of what an option means. */
const INDENT = " ".repeat(31);

const DIALECT_WORDS = `The client is another tool's: ${
  DIALECT_NAMES.filter((name) => DIALECTS[name].enrolWords)
    .map((name) => `${name} ${DIALECTS[name].enrolWords}`).join("; ")
}. Default: knock.`;

/** Options of `add`. */
const ADD_OPTIONS =
  `${FILE_OPTION}${LOCAL_OPTION}    -o, --open SERVICE,...     What it may open: services, ports such as
                               tcp/8080-8090, or all: every service, those of
                               later too. Default: the services of now.
    -f, --for DURATION         How long a grant lasts unless it asks for another
                               time, such as 1h.
    -k, --key PUBLIC           The public key of a client that made its own
                               pair with \`knock keygen\`.
    -s, --server HOST[:PORT]   How the client reaches this server. Default:
                               this machine's own address.
        --code                 Want a one-time code with every knock, too. Its
                               secret goes into the enrolment and, beside the
                               configuration, into code/NAME.secret; for an
                               authenticator app it is printed as a URI.
        --web URL              It knocks from a browser: print a link to the
                               page at URL, which \`knock page\` makes, with the
                               enrolment behind its "#".
        --auto                 With --web: the page knocks as it opens.
        --then URL             With --web: where the page leads once it is open.
        --doh URL              With --web: a resolver for DNS over HTTPS, where
                               the page asks for the server's address; without
                               it, the link carries the addresses of now.
        --qr                   Draw the enrolment as a QR code on standard
                               error, and the secret of the codes as another.
        --svg FILE             Draw the enrolment as a QR code in a new file.
        --dialect NAME         ${
    wrapLine(DIALECT_WORDS, 48).join(`\n${INDENT}`)
  }
`;

/** Options of `list` and `show`. */
const LIST_OPTIONS =
  `        --json                 Print JSON, a list or one object.
${LOCAL_OPTION}${FILE_OPTION}`;

/** Options of `set` that `add` has not. */
const SET_ALONE =
  `        --max-for DURATION     Longest time that it may ask for.
        --expires TIME         Last moment of its rights, such as 2027-01-01 or
                               2027-01-01T18:00:00Z; never removes the limit.
        --no-web               No longer let it knock from a browser.
`;

/** Options of `set`. */
const SET_OPTIONS =
  `${FILE_OPTION}${LOCAL_OPTION}    -o, --open SERVICE,...     What it may open from now on: services, ports
                               such as tcp/8080-8090, or all.
    -f, --for DURATION         How long a grant lasts unless it asks for another
                               time.
        --web                  Let it knock from a browser.
${SET_ALONE}`;

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

/** The subcommands: the lines of their options, and what runs them. */
const SUBCOMMANDS = {
  add: [ADD_OPTIONS, addClient],
  set: [SET_OPTIONS, setClient],
  list: [LIST_OPTIONS, listClients],
  show: [LIST_OPTIONS, showClient],
  remove: [LOCAL_OPTION + FILE_OPTION, removeClient],
} as const;

/** The options of each subcommand. */
export const subcommands: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(SUBCOMMANDS).map(([name, [lines]]) => [name, lines]),
);

/** Words that other programs use for these. */
const SYNONYMS: Readonly<Record<string, string>> = {
  new: "add",
  edit: "set",
  modify: "set",
  ls: "list",
  rm: "remove",
  del: "remove",
  delete: "remove",
};

/** Runs `knock client`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    throw new UsageError(
      "add, set, list, show or remove is missing",
      "`knock help client` explains them",
    );
  }
  const [, found] = Object.entries(SUBCOMMANDS)
    .find(([word]) => word === name) ?? [];
  if (!found) {
    throw new UsageError(
      `knock client must be add, set, list, show or remove, got "${name}"`,
      Object.hasOwn(SYNONYMS, name)
        ? `did you mean "${SYNONYMS[name]}"?`
        : nearest(name, Object.keys(SUBCOMMANDS)),
    );
  }
  const [lines, work] = found;
  const options = parseOptions(rest, lines);
  const wanted = name === "list" ? [] : ["NAME"];
  const [client = ""] = takePositionals(options, wanted);
  return await work(runtime, options, client);
}
