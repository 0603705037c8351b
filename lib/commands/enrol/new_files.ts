/** New files that are there together with what they are made for, or not at all. */

import { clientFiles } from "../../config/files/edit.ts";
import { pathBeside } from "../../config/files/places.ts";
import {
  checkPlace,
  createOwn,
  makeOwnFolder,
  replaceOwn,
} from "../../config/files/rights.ts";
import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  failing,
  FailureError,
  type SystemError,
} from "../../values/errors.ts";

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
    for (const { path, data, isOutput = false } of files) {
      const folder = pathBeside(runtime, path, ".");
      failing((error) => cannot(`make ${folder}`, error), () => {
        if (runtime.files.stat(folder)) return;
        makeOwnFolder(runtime, folder);
        undo.unshift(() => {
          const isEmpty = runtime.files.list(folder).length === 0;
          if (isEmpty) runtime.files.removeFolder(folder);
        });
      });
      const refused = (error: SystemError) =>
        error.code === "EEXIST"
          ? new FailureError(
            `${path} exists already: nothing was changed`,
            "move that file away, if nobody needs it",
          )
          : cannot(`write ${path}`, error);
      failing(refused, () => {
        if (isOutput) runtime.files.create(path, data, 0o600);
        else createOwn(runtime, path, data);
      });
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

function cannot(what: string, { code, message }: SystemError): FailureError {
  return new FailureError(
    `cannot ${what}: ${message}`,
    code === "EACCES" ? "run it as root, or name a folder of yours" : undefined,
  );
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

// Files that `knock client` makes beside the configuration, and removes.

/** The secret's file of a client, from the configuration's folder. */
export function codeFileOf(client: string): string {
  return `code/${client}.secret`;
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
