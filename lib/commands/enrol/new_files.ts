/** New files that are there together with what they are made for, or not at all. */

import { clientFiles } from "../../config/files/edit.ts";
import { readConfigText } from "../../config/files/load.ts";
import { pathBeside } from "../../config/files/places.ts";
import type { Config } from "../../config/config.ts";
import { readSharedClient } from "../../config/clients.ts";
import type { FleetConfig, SharedEntry } from "../../fleet/fleet.ts";
import { withFleet } from "../../fleet/shared.ts";
import { configError, isMapping } from "../../values/schema.ts";
import { parseYaml } from "../../values/yaml.ts";
import {
  checkPlace,
  createOwn,
  makeOwnFolder,
  replaceOwn,
} from "../../config/files/rights.ts";
import {
  CODE_SECRET_SIZE,
  formatCodeSecret,
} from "../../dialects/crypto/codes.ts";
import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  failing,
  FailureError,
  type SystemError,
} from "../../values/errors.ts";

const FILE_MODE = 0o600;

/** A file that is not there yet; it holds secrets. */
export interface NewFile {
  readonly path: string;
  readonly data: string | Uint8Array;
  /** True for a file that is to be moved to the client: its folder may be any user's. */
  readonly isOutput?: boolean;
}

/**
 * Makes files and their folders, then does the rest. Throws
 * FailureError when one exists or cannot be written, and what the rest throws:
 * then none of them is left, nor a folder that was made for them.
 */
export function createWith(
  runtime: Runtime,
  files: readonly NewFile[],
  rest: () => void,
): void {
  const undo: (() => void)[] = [];
  try {
    for (const file of files) {
      const { path } = file;
      const folder = pathBeside(runtime, path, ".");
      if (makeFolder(runtime, folder)) {
        undo.unshift(() => removeEmpty(runtime, folder));
      }
      create(runtime, file);
      undo.unshift(() => runtime.files.remove(path));
    }
    rest();
  } catch (error) {
    for (const step of undo) {
      try {
        step();
      } catch {
        // The first failure is the one to report.
      }
    }
    throw error;
  }
}

/** A change of the configuration, with what comes with it. */
interface EnrolmentChange {
  readonly file: string;
  /** Text of the configuration, before and after. */
  readonly before: string;
  readonly after: string;
  /** New files that the client needs. */
  readonly files: readonly NewFile[];
  /** Secrets for the client, printed on stdout. */
  readonly out: string;
}

/**
 * Enrols a client: makes its files, replaces the configuration, and prints its
 * secrets. Throws OperatorError if one of these fails: then all is as before.
 */
export function enrolWith(runtime: Runtime, change: EnrolmentChange): void {
  const { file, before, after, files, out } = change;
  createWith(runtime, files, () => {
    // The new text is checked before it replaces the old one.
    readConfigText(runtime, file, after);
    replaceConfig(runtime, file, after);
    try {
      if (runtime.out(out)) return;
      throw new FailureError("cannot write to stdout: nobody reads it");
    } catch (error) {
      replaceConfig(runtime, file, before);
      if (!(error instanceof FailureError)) throw error;
      throw new FailureError(`${error.message}: nobody was enrolled`);
    }
  });
}

/**
 * Enrols a client in the fleet instead: its entry and the files that it names
 * go into the engine. Throws OperatorError: then all is as before.
 */
export async function shareWith(
  runtime: Runtime,
  config: Config,
  fleet: FleetConfig,
  name: string,
  { file, after, files, out }: EnrolmentChange,
): Promise<void> {
  const yaml = parseYaml(after);
  const raw = yaml.ok && isMapping(yaml.value) ? yaml.value.clients : null;
  const folder = pathBeside(runtime, file, ".");
  const own = files.filter(({ isOutput }) => !isOutput);
  const shared: SharedEntry = {
    entry: isMapping(raw) ? raw[name] : null,
    files: Object.fromEntries(
      own.map(({ path, data }) => [nameBeside(folder, path), textOf(data)]),
    ),
  };
  const read = readSharedClient(name, shared, config);
  if (!("name" in read)) throw configError(file, read);
  await withFleet(runtime, fleet, async (values) => {
    if (await values.client(name)) {
      throw new FailureError(
        `there is a client "${name}" in the fleet already`,
        `\`knock client remove ${name}\` removes it; its keys stop working`,
      );
    }
    createWith(runtime, files.filter(({ isOutput }) => isOutput), () => {});
    await values.putClient(name, shared);
    try {
      const isRead = runtime.out(out);
      if (isRead) return;
      throw new FailureError("cannot write to stdout: nobody reads it");
    } catch (error) {
      await values.dropClient(name);
      if (!(error instanceof FailureError)) throw error;
      throw new FailureError(`${error.message}: nobody was enrolled`);
    }
  });
  tellFleet(runtime);
}

/** Prints that no server has to be reloaded. */
export function tellFleet(runtime: Runtime): void {
  runtime.err(
    "knock: hint: every gateway of the fleet takes it over at once\n",
  );
}

/** The name of a file in a folder, as an entry has it. */
function nameBeside(folder: string, path: string): string {
  const base = folder === "." || folder === "" ? "" : `${folder}/`;
  return path.startsWith(base) ? path.slice(base.length) : path;
}

function textOf(data: string | Uint8Array): string {
  return typeof data === "string" ? data : new TextDecoder().decode(data);
}

/** Replaces the configuration's text; throws FailureError, the old text stays. */
export function replaceConfig(
  runtime: Runtime,
  file: string,
  text: string,
): void {
  failing(`cannot write ${file}`, () => {
    replaceOwn(runtime, file, text);
  });
}

/** Makes a folder; false if it exists. */
function makeFolder(runtime: Runtime, folder: string): boolean {
  const refused = ({ code, message }: SystemError) =>
    new FailureError(`cannot make ${folder}: ${message}`, cure(code));
  return failing(refused, () => {
    if (runtime.files.stat(folder)) return false;
    makeOwnFolder(runtime, folder);
    return true;
  });
}

function create(
  runtime: Runtime,
  { path, data, isOutput = false }: NewFile,
): void {
  const refused = ({ code, message }: SystemError) =>
    code === "EEXIST"
      ? new FailureError(
        `${path} exists already: nothing was changed`,
        "move that file away, if nobody needs it",
      )
      : new FailureError(`cannot write ${path}: ${message}`, cure(code));
  failing(refused, () => {
    if (isOutput) runtime.files.create(path, data, FILE_MODE);
    else createOwn(runtime, path, data);
  });
}

function cure(code: string): string | undefined {
  return code === "EACCES"
    ? "run it as root, or name a folder of yours"
    : undefined;
}

function removeEmpty(runtime: Runtime, folder: string): void {
  const { files } = runtime;
  if (files.list(folder).length === 0) files.removeFolder(folder);
}

// Files that `knock client` makes beside the configuration, and removes.

/** The secret's file of a client, from the configuration's folder. */
export function codeFileOf(client: string): string {
  return `code/${client}.secret`;
}

/** Draws a secret, in base32. */
export function newCodeSecret(runtime: Runtime): string {
  return formatCodeSecret(runtime.random(CODE_SECRET_SIZE));
}

/** Files that a new client gets: the path of the key that names one, and its name. */
const MADE = [
  { path: ["code"], of: codeFileOf },
  ...DIALECT_NAMES.flatMap((name) => {
    const { file } = DIALECTS[name].client;
    return file ? [{ path: [name, file.key], of: file.of }] : [];
  }),
];

/**
 * Removes the files of a client that is out of the configuration, if
 * `knock client add` gave it them and nobody else has them. `before` and
 * `after` are all clients, as YAML makes them.
 */
export function removeClientFiles(
  runtime: Runtime,
  file: string,
  client: string,
  { before, after }: {
    before: Record<string, unknown>;
    after: Record<string, unknown>;
  },
): void {
  const at = (name: string) => pathBeside(runtime, file, name);
  for (const made of MADE) {
    const path = at(made.of(client));
    const own = clientFiles(before, made.path).get(client);
    if (own === undefined || at(own) !== path) continue;
    const others = [...clientFiles(after, made.path).values()];
    if (others.some((name) => at(name) === path)) continue;
    const what = `client "${client}" is removed, but ${path} cannot be`;
    failing(what, () => {
      checkPlace(runtime, path);
      if (runtime.files.stat(path)) runtime.files.remove(path);
    }, `rm ${path}`);
  }
}
