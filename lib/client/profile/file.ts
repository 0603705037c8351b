/** Adding a profile to the file of profiles, and leaving the rest as it is. */

import { stringify as stringifyYaml } from "@std/yaml";
import { folderOf } from "../../config/files/places.ts";
import {
  asOwner,
  makeOwnFolder,
  replaceOwn,
} from "../../config/files/rights.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { FailureError, UsageError } from "../../values/errors.ts";
import type { Enrolment } from "./enrolment.ts";
import { parseProfiles } from "./profile.ts";
import { checkProfileName, readPrivateFile } from "./profiles.ts";

const HEADER = "# knock's profiles: this file holds private keys\n";

/** An enrolment with the client's private key, wherever it came from. */
export type Enrolled = Enrolment & { readonly key: Uint8Array };

/**
 * Adds a profile to a file, which is made when there is none (0600, its folder
 * 0700); other profiles and all comments stay. Throws UsageError when the name
 * cannot be one or is taken, ConfigError when the file is wrong, and
 * FailureError when it cannot be written; the file is then as it was. In another
 * user's folder, root does this with that user's rights.
 */
export function addProfile(
  runtime: Runtime,
  file: string,
  name: string,
  enrolment: Enrolled,
): void {
  addProfileText(runtime, file, name, formatProfile(name, enrolment));
}

/** As {@linkcode addProfile}, with the profile as the file shall have it. */
export function addProfileText(
  runtime: Runtime,
  file: string,
  name: string,
  text: string,
): void {
  checkProfileName(name);
  const back = asOwner(runtime, folderOf(runtime, file));
  try {
    add(runtime, file, name, text);
  } finally {
    back();
  }
}

function add(
  runtime: Runtime,
  file: string,
  name: string,
  text: string,
): void {
  const old = readPrivateFile(runtime, file);
  const names = old === null ? [] : [...parseProfiles(old, file).keys()];
  if (names.includes(name)) {
    throw new UsageError(
      `there is a profile "${name}" in ${file} already`,
      "store this one under another name with --name NAME",
    );
  }
  const content = appended(old ?? HEADER, text);
  // A file in an unusual form of YAML may not take one more profile as text.
  if (!holds(content, file, [...names, name])) {
    throw new FailureError(
      `cannot add to ${file}: it is not a plain list of profiles`,
      "give the new profile a file of its own with --profiles FILE",
    );
  }
  try {
    makeOwnFolder(runtime, folderOf(runtime, file));
    replaceOwn(runtime, file, content);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(`cannot write ${file}: ${error.message}`);
  }
}

/** The text of one profile, as {@linkcode parseProfiles} reads it. */
export function formatProfile(name: string, enrolment: Enrolled): string {
  const { server, key, psk, code } = enrolment;
  return stringifyYaml({
    [name]: {
      server: formatEndpoint(enrolment),
      knock: {
        server: formatBase64url(server),
        key: formatBase64url(key),
        psk: formatBase64url(psk),
      },
      ...(code === undefined ? {} : { code }),
    },
  });
}

function appended(old: string, added: string): string {
  const gap = old === "" || old.endsWith("\n") ? "" : "\n";
  return `${old}${gap}${added}`;
}

function holds(
  content: string,
  file: string,
  names: readonly string[],
): boolean {
  try {
    const found = [...parseProfiles(content, file).keys()];
    return found.length === names.length &&
      names.every((name) => found.includes(name));
  } catch {
    return false;
  }
}
