/** New files that are there together with what they are made for, or not at all. */

import { pathBeside } from "../../config/files/places.ts";
import { createOwn, makeOwnFolder } from "../../config/files/rights.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { FailureError } from "../../values/errors.ts";

const FILE_MODE = 0o600;

/** A file that is not there yet; it holds secrets. */
export interface NewFile {
  readonly path: string;
  readonly data: string | Uint8Array;
  /** Whether it is for somebody to take away, so that its folder may be anybody's. */
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
        // The first failure is the one to tell.
      }
    }
    throw error;
  }
}

/** Whether there was none. */
function makeFolder(runtime: Runtime, folder: string): boolean {
  try {
    if (runtime.files.stat(folder)) return false;
    makeOwnFolder(runtime, folder);
    return true;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(`cannot make ${folder}: ${error.message}`);
  }
}

function create(
  runtime: Runtime,
  { path, data, isOutput = false }: NewFile,
): void {
  try {
    if (isOutput) runtime.files.create(path, data, FILE_MODE);
    else createOwn(runtime, path, data);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw error.code === "EEXIST"
      ? new FailureError(
        `${path} exists already: nothing was changed`,
        "move that file away, if nobody needs it",
      )
      : new FailureError(`cannot write ${path}: ${error.message}`);
  }
}

function removeEmpty(runtime: Runtime, folder: string): void {
  const { files } = runtime;
  if (files.list(folder).length === 0) files.removeFolder(folder);
}
