import { readProfiles } from "../../client/profile/file.ts";
import { parseProfiles } from "../../client/profile/profile.ts";
import type { Converted } from "../../config/convert/converted.ts";
import {
  CONVERTER_WORDS,
  CONVERTERS,
  type Sources,
} from "../../config/convert/table.ts";
import { loadConfig } from "../../config/files/load.ts";
import {
  CONFIG_NAME,
  pathBeside,
  stateFolder,
} from "../../config/files/places.ts";
import { parseConfig } from "../../config/read.ts";
import { KEY_SIZE } from "../../dialects/crypto/curve25519.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import {
  caught,
  ConfigError,
  failing,
  orNull,
  UsageError,
} from "../../values/errors.ts";
import type { KeyRead } from "../../values/schema.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { oneOf, parseOptions, printHint, printWarning } from "../command.ts";
import { createWith, type NewFile } from "../enrol/new_files.ts";

export const help = `Usage:
    knock convert TOOL FILE... [--dir DIR]

Converts another tool's configuration and prints the result on stdout. Settings
that cannot be converted, or need review, are reported on stderr. The other
tool's files are not changed.

${CONVERTER_WORDS}
Options:
    -d, --dir DIR    Write new files there instead, readable by their owner
                     only: server.yaml, and the keys that it names.

Clients keep their keys: they go on working, and no phone has to be set up
again. docs/migrating.md describes the differences.

The result passes \`knock check\`: knock loads it as the server and the client
do, and writes nothing if that fails.

Exit status: 0, with warnings too; 2 if a file cannot be read or is refused, or
if its settings cannot be converted.

Example:
    # knock convert openme /etc/openme/config.yaml --dir /etc/knock
    # knock check /etc/knock/server.yaml
    configuration OK
`;

const KEY_NAME = "server.key";

/** Runs `knock convert`, and returns the exit status. */
// deno-lint-ignore require-await -- so that a throw is a rejection
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [tool, ...files] = options.positionals;
  const tools = Object.keys(CONVERTERS);
  if (tool === undefined) {
    const names = `${tools.slice(0, -1).join(", ")} or ${tools.at(-1)}`;
    throw new UsageError("TOOL is missing", `it is ${names}`);
  }
  oneOf("TOOL", tool, tools);
  if (files.length === 0) throw new UsageError("FILE is missing");
  const converted = CONVERTERS[tool]!(files, sourcesOf(runtime));
  const dir = options.value("dir");
  for (const warning of new Set(converted.warnings)) {
    printWarning(runtime, warning);
  }
  checkConverted(runtime, files, converted);
  if (dir === undefined) runtime.out(converted.text);
  else writeTo(runtime, dir, converted);
  const named = [...converted.files.keys()];
  if (dir === undefined && named.length > 0) {
    const words = `it names ${named.join(", ")}, with a key of ${tool}'s`;
    printHint(runtime, `${words}: --dir DIR writes that file, too`);
  }
  return 0;
}

/**
 * Loads the result as `check` loads it, from memory. Throws ConfigError with
 * every mistake when it would not pass.
 */
export function checkConverted(
  runtime: Runtime,
  sources: readonly string[],
  { text, files, name = CONFIG_NAME }:
    & Pick<Converted, "text">
    & Partial<Converted>,
): void {
  const load = () =>
    name !== CONFIG_NAME ? parseProfiles(text, name) : parseConfig(text, {
      file: name,
      readKey: () => new Uint8Array(KEY_SIZE),
      readCode: (file) => ({ text: `"${file}" is missing` }),
      readOther: (file, { parse, wanted }): KeyRead<never> => {
        const written = files?.get(file);
        if (written === undefined) return { ok: true, key: null };
        const key = parse(written.trim());
        return key
          ? { ok: true, key: key as never }
          : { ok: false, mistake: { text: `"${file}" must hold ${wanted}` } };
      },
      stateFolder: (written) => stateFolder(runtime, name, written),
    });
  caught(ConfigError, load, ({ lines }) => {
    throw new ConfigError(
      lines.map((line) =>
        `${sources.join(", ")}: cannot be converted: ${line}`
      ),
      "nothing was written: change what is named, and convert again",
    );
  });
}

/** Writes the files of a conversion; a key of our own, where there is none. */
function writeTo(
  runtime: Runtime,
  dir: string,
  { text, files, name = CONFIG_NAME }: Converted,
): void {
  const inDir = (name: string) => pathBeside(runtime, `${dir}/x`, name);
  const wanted: NewFile[] = [...files].map(([name, data]) => ({
    path: inDir(name),
    data,
  }));
  const keyFile = inDir(KEY_NAME);
  if (name === CONFIG_NAME && !runtime.files.stat(keyFile)) {
    const key = formatBase64url(runtime.random(KEY_SIZE));
    wanted.push({ path: keyFile, data: `${key}\n` });
  }
  wanted.push({ path: inDir(name), data: text });
  createWith(runtime, wanted, () => {
    // With the files that were there before: a key of ours, for one.
    if (name === CONFIG_NAME) loadConfig(runtime, inDir(name));
    else readProfiles(runtime, inDir(name));
  });
  for (const { path } of wanted) runtime.err(`wrote ${escapeUnsafe(path)}\n`);
}

function sourcesOf(runtime: Runtime): Sources {
  const { files } = runtime;
  return {
    read(path) {
      const bytes = failing(
        ({ message }) =>
          new ConfigError([`${path}: cannot be read: ${message}`]),
        () => {
          if (!files.stat(path)?.isFolder) return files.readBytes(path);
          throw new ConfigError([`${path}: is a folder, not a file`]);
        },
      );
      if (bytes.length > 0) return bytes;
      throw new ConfigError([`${path}: is empty`]);
    },
    find: (path) => orNull(() => files.readBytes(path)),
    list: (path) => orNull(() => files.list(path)),
  };
}
