/** Secrets of one-time codes that `knock client` makes and removes. */

import { codeFiles } from "../config/edit.ts";
import { pathBeside } from "../config/places.ts";
import {
  CODE_SECRET_SIZE,
  formatCodeSecret,
} from "../dialects/one_time_code.ts";
import { type Runtime, SystemError } from "../runtime/runtime.ts";
import { FailureError } from "../values/errors.ts";

/** The secret's file of a client, from the configuration's folder. */
export function codeFileOf(client: string): string {
  return `code/${client}.secret`;
}

/** Draws a secret, in base32. */
export function newCodeSecret(runtime: Runtime): string {
  return formatCodeSecret(runtime.random(CODE_SECRET_SIZE));
}

/**
 * Removes the secret of a client that is out of the configuration, if
 * `knock client add` gave it that file and nobody else has it. `before` and
 * `after` are the configuration's texts.
 */
export function removeCodeFile(
  runtime: Runtime,
  file: string,
  client: string,
  { before, after }: { before: string; after: string },
): void {
  const path = pathBeside(runtime, file, codeFileOf(client));
  const at = (name: string) => pathBeside(runtime, file, name);
  const own = codeFiles(before).get(client);
  if (own === undefined || at(own) !== path) return;
  if ([...codeFiles(after).values()].some((name) => at(name) === path)) return;
  try {
    if (runtime.files.stat(path)) runtime.files.remove(path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `client "${client}" is removed, but ${path} cannot be: ${error.message}`,
      `rm ${path}`,
    );
  }
}
