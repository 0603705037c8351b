/** A configuration from its files: text, rights and the server's key. */

import { parseCodeSecret } from "../../dialects/crypto/codes.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  configError,
  type KeyKind,
  type KeyRead,
  type Mistake,
} from "../../values/schema.ts";
import { counted } from "../../values/text.ts";
import type { Config } from "../config.ts";
import { CLIENTS_FOLDER, type IncludedFile } from "../clients.ts";
import { parseConfig } from "../read.ts";
import { parseKey } from "../../dialects/knock1/keys.ts";
import { needConfig, pathBeside, stateFolder } from "./places.ts";
import { type PlaceMistake, trustMistake } from "./rights.ts";
import { failing, ifRefused, type SystemError } from "../../values/errors.ts";

const SERVER_KEY: KeyKind<Uint8Array> = {
  parse: parseKey,
  wanted: "a key of 43 base64url characters",
  secret: true,
};
const NEW_KEY =
  `restore it from a backup; a new key, from \`knock keygen\`, means ` +
  `enrolling every client again`;

const CODE_SECRET: KeyKind<Uint8Array> = {
  parse: parseCodeSecret,
  wanted: "16 to 128 characters of base32",
  secret: true,
};
const NEW_CODE =
  "restore it from a backup, or make a new one: `knock client remove NAME`, " +
  "then `knock client add NAME --code`";

/**
 * Reads and checks a configuration with its key file. Throws ConfigError with
 * every mistake, files that others can read among them.
 */
export function loadConfig(runtime: Runtime, file: string): Config {
  return readConfigText(runtime, file, readFile(runtime, file));
}

/** As {@linkcode loadConfig}, of the file that `--config` names, or the default. */
export function loadNamed(runtime: Runtime, named: string | undefined): Config {
  return loadConfig(runtime, needConfig(runtime, named));
}

/** As {@linkcode loadConfig}, of texts that are, or shall be, these files'. */
export function readConfigText(
  runtime: Runtime,
  file: string,
  text: string,
  included: readonly IncludedFile[] = readIncluded(runtime, file),
): Config {
  const beside = (name: string) => pathBeside(runtime, file, name);
  return parseConfig(text, {
    file,
    mistakes: [file, ...included.map(({ file }) => file)].flatMap((file) =>
      checkRights(runtime, file)
    ),
    included,
    readKey: (name) => {
      const path = beside(name);
      const hint = `"knock keygen > ${path}" makes a new key: ` +
        "clients must be enrolled again";
      return readNeeded(runtime, path, SERVER_KEY, hint, NEW_KEY);
    },
    readCode: (name) =>
      readNeeded(runtime, beside(name), CODE_SECRET, NEW_CODE, NEW_CODE),
    readOther: (name, kind) => readSecretFile(runtime, beside(name), kind),
    hostName: runtime.hostName(),
    stateFolder: (written) => stateFolder(runtime, file, written),
  });
}

/** Reads the files of `clients.d` beside a configuration, by name; throws ConfigError. */
export function readIncluded(runtime: Runtime, file: string): IncludedFile[] {
  const folder = pathBeside(runtime, file, CLIENTS_FOLDER);
  const unlisted = (error: SystemError) =>
    configError(folder, [{ path: "", ...unreadable(error) }]);
  const names = failing(
    unlisted,
    () =>
      runtime.files.stat(folder)?.isFolder ? runtime.files.list(folder) : [],
  );
  return names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort()
    .map((name) => pathBeside(runtime, file, `${CLIENTS_FOLDER}/${name}`))
    .map((file) => ({ file, text: readFile(runtime, file) }));
}

/** Reads a file of the operator's as text; throws ConfigError if it cannot be. */
export function readFile(runtime: Runtime, file: string): string {
  const wrong = (mistake: Omit<Mistake, "path">) =>
    configError(file, [{ path: "", ...mistake }]);
  return failing((error) => wrong(unreadable(error)), () => {
    const found = runtime.files.stat(file);
    if (!found) {
      throw wrong({
        text: "is missing",
        hint: "`knock init --dir DIR` writes a new configuration and its key",
      });
    }
    if (found.isFolder) throw wrong({ text: "is a folder, not a file" });
    // Before it is read: what is at this place stays there. Faults of the file
    // itself are reported with its other mistakes.
    const mistake = trustOf(runtime, file);
    if (mistake && mistake.place !== file) {
      throw configError(file, [inWords(mistake, file)]);
    }
    return runtime.files.readText(file);
  });
}

/** Mistakes by which others may read a file that holds secrets, or change it; where that cannot be told, it is one. */
function checkRights(runtime: Runtime, file: string): Mistake[] {
  return ifRefused(
    () => {
      const wrong = trustOf(runtime, file);
      return wrong ? [inWords(wrong, file)] : [];
    },
    (error) => [{ path: "", ...unreadable(error), file }],
  );
}

function inWords({ place, text, hint }: PlaceMistake, file: string): Mistake {
  const words = place === file ? text : `"${place}" ${text}`;
  return { path: "", text: words, hint, file };
}

/** As {@linkcode readSecretFile}; `missing` is the hint where there is no file. */
function readNeeded(
  runtime: Runtime,
  file: string,
  kind: KeyKind<Uint8Array>,
  hint: string,
  missing: string,
): Uint8Array | Omit<Mistake, "path"> {
  const read = readSecretFile(runtime, file, kind, hint);
  if (!read.ok) return read.mistake;
  return read.key ?? { text: `"${file}" is missing`, hint: missing };
}

/**
 * Reads the key in a file, whose rights are judged first; `hint` is for a text
 * that is no such key.
 */
function readSecretFile<T extends object>(
  runtime: Runtime,
  file: string,
  { parse, wanted, secret }: KeyKind<T>,
  hint?: string,
): KeyRead<T> {
  const wrong = (text: string, hint?: string, place = file): KeyRead<T> => ({
    ok: false,
    mistake: { text: `"${place}" ${text}`, hint },
  });
  return ifRefused((): KeyRead<T> => {
    const info = runtime.files.stat(file);
    if (!info) return { ok: true, key: null };
    if (info.isFolder) return wrong("is a folder, not a file");
    const trust = trustMistake(runtime, file, { secret });
    if (trust) return wrong(trust.text, trust.hint, trust.place);
    const text = runtime.files.readText(file);
    const key = parse(text.trim());
    if (key) return { ok: true, key };
    const got = text === "" ? "nothing" : counted(text.length, "character");
    return wrong(`must hold ${wanted}, got ${got}`, hint);
  }, (error) => {
    const { text, hint } = unreadable(error);
    return wrong(text, hint);
  });
}

function unreadable({ code, message }: SystemError): Omit<Mistake, "path"> {
  const isDenied = code === "EACCES" || code === "EPERM";
  return {
    text: `cannot be read: ${isDenied ? "permission denied" : message}`,
    hint: code === "EACCES"
      ? "run it as root, or as the file's owner"
      : undefined,
  };
}

/** Throws SystemError where it cannot be told. */
function trustOf(runtime: Runtime, file: string): PlaceMistake | null {
  return trustMistake(runtime, file, { secret: true });
}
