/**
 * Adding to the file of profiles. Apart from reading it: a knock needs no writer
 * of YAML.
 * @module
 */

import { stringify as stringifyYaml } from "@std/yaml";
import { folderOf } from "../../config/files/places.ts";
import {
  asOwner,
  makeOwnFolder,
  replaceOwn,
} from "../../config/files/rights.ts";
import type { ForeignProfile } from "../../dialects/keys.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { failing, FailureError, UsageError } from "../../values/errors.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import { NAME } from "../../values/schema.ts";
import type { Enrolment } from "./enrolment.ts";
import { readPrivateFile } from "./file.ts";
import { parseProfiles, RESOLVE_KEY } from "./profile.ts";

/** Throws UsageError when no profile can have this name. */
export function checkProfileName(name: string): void {
  const hint = "give the profile another name with --name NAME";
  if (!NAME.pattern.test(name)) {
    throw new UsageError(
      `a profile's name must be ${NAME.wanted}, got "${name}"`,
      hint,
    );
  }
  if (name === RESOLVE_KEY) {
    throw new UsageError(
      `"${name}" is a key of the file itself, and cannot be a profile's`,
      hint,
    );
  }
  if (COMMAND_NAMES.includes(name)) {
    throw new UsageError(
      `"${name}" is the name of a command, and cannot be a profile's`,
      hint,
    );
  }
}

const HEADER = "# knock's profiles: this file holds private keys\n";

/** An enrolment with the client's private key, wherever it came from. */
export type StoredProfile = Enrolment & { readonly key: Uint8Array };

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
  enrolment: StoredProfile,
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
    throw new FailureError(
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
  failing(`cannot write ${file}`, () => {
    makeOwnFolder(runtime, folderOf(runtime, file));
    replaceOwn(runtime, file, content);
  });
}

/** The text of one profile, as {@linkcode parseProfiles} reads it. */
export function formatProfile(name: string, enrolment: StoredProfile): string {
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

/** The text of another tool's profile, as `profiles.yaml` has it. */
export function formatForeignProfile(
  name: string,
  { server, keys }: ForeignProfile,
): string {
  return stringifyYaml({ [name]: { server: formatEndpoint(server), ...keys } });
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
