import { addProfile, checkProfileName } from "../../client/profile/add.ts";
import {
  type Enrolment,
  isWholeEnrolment,
  looksLikeEnrolment,
  parseEnrolment,
} from "../../client/profile/enrolment.ts";
import { ASK_CODE } from "../../client/profile/profile.ts";
import { profilesFile } from "../../config/files/places.ts";
import type { ClientFiles } from "../../dialects/keys.ts";
import { clientFilesOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { parseBase64 } from "../../values/bytes.ts";
import {
  ConfigError,
  failing,
  type SystemError,
  UsageError,
} from "../../values/errors.ts";
import { counted, escapeUnsafe } from "../../values/text.ts";
import {
  type Options,
  parseOptions,
  printHint,
  takePositionals,
} from "../command.ts";

export const help = `Usage:
    knock import [LINE|FILE|-] [OPTIONS]

Stores an enrolment, the line that \`knock client add\` printed on the server,
as a profile. Without an argument, knock asks for the line and does not show
it, or reads it from a pipe, as with "-". It may be wrapped or quoted.

The line is secret: an argument is visible to all users of this machine in the
process list, and the shell may keep it in its history.

Client files of other tools can be imported too: OpenSPA's (.ospa), openme's
config.yaml, and the JSON of its QR codes.

Options:
    --name PROFILE     The profile's name; default: the client's on the server.
    --key FILE         The client's own private key, as \`knock keygen\` wrote
                       it, for an enrolment without one; --key=- reads stdin.
    --ask-code         Ask for the one-time code with every knock, and do not
                       store their secret: the profile then opens nothing
                       without the authenticator app.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

If there is no file of profiles, it is created, readable by its owner only.

Example:
    $ ssh server knock client add laptop | knock import --name home
    profile "home" is stored: \`knock home\` knocks at home.example.org:62201
`;

/** Bytes of an X25519 key, and of all that is read from a file or from input. */
const KEY_SIZE = 32;
const MAX_INPUT = 65_536;

/** Argument of the command; without it, standard input is read. */
const WANTED = "LINE, FILE or -";

/** Runs `knock import`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [source = "-"] = takePositionals(options, [WANTED], 1);
  const keyFile = options.value("key");
  if (source === "-" && keyFile === "-") {
    throw new UsageError("standard input cannot be both enrolment and key");
  }
  const file = profilesFile(runtime, options.value("profiles"));
  const text = options.positionals.length === 0 && runtime.isTerminal("in")
    ? await ask(runtime)
    : looksLikeEnrolment(source)
    ? source
    : await read(runtime, source);
  if (options.positionals.length === 0 && text.trim() === "") {
    throw new UsageError(`${WANTED} is missing`);
  }
  const foreign = await clientFilesOf(text);
  if (foreign) {
    return importForeign(runtime, file, options, source, foreign, text);
  }
  const enrolment = parseEnrolment(text);
  const key = await findKey(runtime, enrolment, keyFile);
  const name = options.value("name") ?? enrolment.name;
  const code = options.flag("ask-code") ? { code: ASK_CODE } : {};
  addProfile(runtime, file, name, { ...enrolment, key, ...code });
  tellStored(runtime, name, enrolment);
  return 0;
}

function tellStored(runtime: Runtime, name: string, server: Endpoint): void {
  const shown = escapeUnsafe(name);
  const at = formatEndpoint(server);
  runtime.err(
    `profile "${shown}" is stored: \`knock ${shown}\` knocks at ${at}\n`,
  );
}

async function ask(runtime: Runtime): Promise<string> {
  const typed = await runtime.promptSecret(
    "the line that `knock client add` printed (not shown):",
    isWholeEnrolment,
  );
  if (typed?.trim()) return typed.trim();
  throw new UsageError(
    "no enrolment was entered",
    "paste the line that `knock client add` printed on the server, and press Enter",
  );
}

async function findKey(
  runtime: Runtime,
  enrolment: Enrolment,
  file: string | undefined,
): Promise<Uint8Array> {
  if (file === undefined) {
    if (enrolment.key) return enrolment.key;
    throw new UsageError(
      "the enrolment has no private key: the client made its own",
      "name the file that holds it with --key FILE",
    );
  }
  if (enrolment.key) {
    throw new UsageError(
      "the enrolment has a private key already: leave --key out",
    );
  }
  const words = (await read(runtime, file)).trim();
  const key = parseBase64(words, { alphabet: "base64url", size: KEY_SIZE });
  if (key) return key;
  throw new UsageError(
    `${file === "-" ? "standard input" : file} must hold a private key ` +
      `of 43 characters (base64url), got ${counted(words.length, "character")}`,
  );
}

async function read(runtime: Runtime, source: string): Promise<string> {
  const shown = source === "-" ? "standard input" : source;
  const unreadable = ({ code, message }: SystemError) =>
    new ConfigError(
      [`${shown}: cannot be read: ${message}`],
      code === "ENOENT"
        ? 'an enrolment starts with "knock://"; anything else is a file'
        : undefined,
    );
  return await failing(unreadable, async () => {
    if (source === "-") {
      return new TextDecoder().decode(await runtime.readStdin(MAX_INPUT));
    }
    const info = runtime.files.stat(source);
    if (info && info.size > MAX_INPUT) {
      throw new UsageError(
        `${source} has ${info.size} bytes: it is no enrolment or key`,
      );
    }
    return runtime.files.readText(source);
  });
}

/** Stores the profiles of another tool's file, and returns the exit status. */
function importForeign(
  runtime: Runtime,
  file: string,
  options: Options,
  source: string,
  foreign: ClientFiles,
  text: string,
): number {
  const shown = source === "-" ? "standard input" : source;
  if (options.value("key") !== undefined || options.flag("ask-code")) {
    const option = options.flag("ask-code") ? "--ask-code" : "--key";
    throw new UsageError(`${option} is for an enrolment, not for ${shown}`);
  }
  const found = foreign.read(text, shown);
  const given = options.value("name");
  if (given !== undefined && found.length > 1) {
    throw new UsageError(
      `--name is for one profile, and ${shown} has ${found.length}`,
    );
  }
  const profiles = found.map((profile) => {
    const name = given ?? profile.name ?? profile.server.host;
    checkProfileName(name);
    return { ...profile, name };
  });
  for (const profile of profiles) {
    const { name, server, notes } = profile;
    addProfile(runtime, file, name, profile);
    tellStored(runtime, name, server);
    for (const note of notes) printHint(runtime, escapeUnsafe(note));
  }
  return 0;
}
