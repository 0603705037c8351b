/** A configuration from its files: text, rights and the server's key. */

import { parseCodeSecret } from "../../dialects/codes.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  configError,
  type KeyKind,
  type KeyRead,
  type Mistake,
} from "../../values/schema.ts";
import { counted } from "../../values/text.ts";
import type { Config } from "../config.ts";
import { CLIENTS_FOLDER, type IncludedFile } from "../include.ts";
import { parseConfig } from "../read.ts";
import { parseKey } from "../../dialects/knock1/keys.ts";
import { pathBeside, stateFolder } from "./places.ts";
import { type PlaceMistake, trustMistake } from "./rights.ts";
import { failing, orNull, SystemError } from "../../values/errors.ts";

const NEW_KEY =
  `put it back from a copy: with a new one, from \`knock keygen\`, every ` +
  `client has to be enrolled again`;

const NEW_CODE =
  "put it back from a copy, or make a new one: `knock client remove NAME`, " +
  "then `knock client add NAME --code`";

/**
 * Reads and checks a configuration with its key file. Throws ConfigError with
 * every mistake, files that others can read among them.
 */
export function loadConfig(runtime: Runtime, file: string): Config {
  return readConfigText(runtime, file, readFile(runtime, file));
}

/** As {@linkcode loadConfig}, of texts that are, or shall be, these files'. */
export function readConfigText(
  runtime: Runtime,
  file: string,
  text: string,
  included: readonly IncludedFile[] = readIncluded(runtime, file),
): Config {
  return parseConfig(text, {
    file,
    mistakes: [file, ...included.map(({ file }) => file)].flatMap((file) =>
      checkRights(runtime, file).map((mistake) => ({ ...mistake, file }))
    ),
    included,
    readKey: (name) => readKeyFile(runtime, pathBeside(runtime, file, name)),
    readCode: (name) => readCodeFile(runtime, pathBeside(runtime, file, name)),
    readOther: (name, kind) =>
      readKeyIn(runtime, pathBeside(runtime, file, name), kind),
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
  const failure = lookAt(runtime, file);
  if (failure) throw configError(file, [{ path: "", ...failure }]);
  // Before it is read: what is at this place stays there. What is wrong with
  // the file itself is told with its other mistakes.
  if ((trustOf(runtime, file)?.place ?? file) !== file) {
    throw configError(file, checkRights(runtime, file));
  }
  try {
    return runtime.files.readText(file);
  } catch (error) {
    throw configError(file, [{ path: "", ...unreadable(error) }]);
  }
}

/** Mistakes by which others may read a file that holds secrets, or change it. */
export function checkRights(runtime: Runtime, file: string): Mistake[] {
  const wrong = trustOf(runtime, file);
  if (!wrong) return [];
  const { place, text, hint } = wrong;
  return [{
    path: "",
    text: place === file ? text : `"${place}" ${text}`,
    hint,
  }];
}

function readKeyFile(
  runtime: Runtime,
  file: string,
): Uint8Array | Omit<Mistake, "path"> {
  return readSecret(runtime, file, {
    parse: parseKey,
    wanted: "a key of 43 base64url characters",
    hint: `"knock keygen > ${file}" makes a new key: clients must be enrolled` +
      ` again`,
    missing: NEW_KEY,
  });
}

function readCodeFile(
  runtime: Runtime,
  file: string,
): Uint8Array | Omit<Mistake, "path"> {
  return readSecret(runtime, file, {
    parse: parseCodeSecret,
    wanted: "16 to 128 characters of base32",
    hint: NEW_CODE,
    missing: NEW_CODE,
  });
}

interface Secret {
  readonly parse: (text: string) => Uint8Array | null;
  readonly wanted: string;
  readonly hint: string;
  /** Hint for when there is no file. */
  readonly missing: string;
}

function readSecret(
  runtime: Runtime,
  file: string,
  { parse, wanted, hint, missing }: Secret,
): Uint8Array | Omit<Mistake, "path"> {
  const failure = lookAt(runtime, file);
  if (failure) {
    return { text: `"${file}" ${failure.text}`, hint: missing };
  }
  const wrong = trustOf(runtime, file);
  if (wrong) {
    return { text: `"${wrong.place}" ${wrong.text}`, hint: wrong.hint };
  }
  let text: string;
  try {
    text = runtime.files.readText(file);
  } catch (error) {
    return { text: `"${file}" cannot be read: ${reason(error)}` };
  }
  const secret = parse(text.replace(/\r?\n$/, ""));
  if (secret) return secret;
  return {
    text: `"${file}" must hold ${wanted}, ` +
      (text === ""
        ? "got nothing"
        : `got ${counted(text.length, "character")}`),
    hint,
  };
}

function lookAt(
  runtime: Runtime,
  file: string,
): { text: string; hint?: string } | null {
  try {
    const found = runtime.files.stat(file);
    if (!found) {
      return {
        text: "is missing",
        hint: "`knock init --dir DIR` writes a new configuration and its key",
      };
    }
    return found.isFolder ? { text: "is a folder, not a file" } : null;
  } catch (error) {
    return unreadable(error);
  }
}

function unreadable(error: unknown): { text: string; hint?: string } {
  const text = `cannot be read: ${reason(error)}`;
  return error instanceof SystemError && error.code === "EACCES"
    ? { text, hint: "run it as root, or as the file's owner" }
    : { text };
}

function trustOf(runtime: Runtime, file: string): PlaceMistake | null {
  // The reader of the file reports why it cannot be read.
  return orNull(() => trustMistake(runtime, file, { secret: true }));
}

function reason(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return error.code === "EACCES" || error.code === "EPERM"
    ? "permission denied"
    : error.message;
}

/** Reads the key in a file. */
export function readKeyIn<T extends object>(
  runtime: Runtime,
  file: string,
  { parse, wanted, secret }: KeyKind<T>,
): KeyRead<T> {
  const wrong = (text: string, hint?: string): KeyRead<T> => ({
    ok: false,
    mistake: { text: `"${file}" ${text}`, hint },
  });
  try {
    const info = runtime.files.stat(file);
    if (!info) return { ok: true, key: null };
    if (info.isFolder) return wrong("is a folder, not a file");
    const trust = trustMistake(runtime, file, { secret });
    if (trust) {
      const { place, text, hint } = trust;
      return { ok: false, mistake: { text: `"${place}" ${text}`, hint } };
    }
    const text = runtime.files.readText(file);
    const key = parse(text.trim());
    if (key) return { ok: true, key };
    return wrong(
      `must hold ${wanted}, got ${counted(text.length, "character")}`,
    );
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return wrong(`cannot be read: ${error.message}`);
  }
}
