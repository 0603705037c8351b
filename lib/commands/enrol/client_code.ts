/** Files that `knock client` makes beside the configuration, and removes. */

import { clientFiles } from "../../config/files/edit.ts";
import { pathBeside } from "../../config/files/places.ts";
import { checkPlace } from "../../config/files/rights.ts";
import { CODE_SECRET_SIZE, formatCodeSecret } from "../../dialects/codes.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { FailureError } from "../../values/errors.ts";

/** The secret's file of a client, from the configuration's folder. */
export function codeFileOf(client: string): string {
  return `code/${client}.secret`;
}

/** Draws a secret, in base32. */
export function newCodeSecret(runtime: Runtime): string {
  return formatCodeSecret(runtime.random(CODE_SECRET_SIZE));
}

/** The file of an OpenSPA client's public key, from the configuration's folder. */
export function openspaFileOf(client: string): string {
  return `openspa/${client}.pem`;
}

const MADE = { code: codeFileOf, openspa: openspaFileOf } as const;

/**
 * Removes the files of a client that is out of the configuration, if
 * `knock client add` gave it them and nobody else has them. `before` and
 * `after` are the configuration's texts.
 */
export function removeClientFiles(
  runtime: Runtime,
  file: string,
  client: string,
  { before, after }: { before: string; after: string },
): void {
  const at = (name: string) => pathBeside(runtime, file, name);
  for (const kind of ["code", "openspa"] as const) {
    const path = at(MADE[kind](client));
    const own = clientFiles(before, kind).get(client);
    if (own === undefined || at(own) !== path) continue;
    const others = [...clientFiles(after, kind).values()];
    if (others.some((name) => at(name) === path)) continue;
    try {
      checkPlace(runtime, path);
      if (runtime.files.stat(path)) runtime.files.remove(path);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new FailureError(
        `client "${client}" is removed, but ${path} cannot be: ${error.message}`,
        `rm ${path}`,
      );
    }
  }
}
