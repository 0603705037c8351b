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
    const wanted = `a profile's name must be ${NAME.wanted}`;
    throw new UsageError(`${wanted}, got "${name}"`, hint);
  }
  const taken = name === RESOLVE_KEY
    ? "a key of the file itself"
    : COMMAND_NAMES.includes(name) && "the name of a command";
  if (!taken) return;
  throw new UsageError(
    `"${name}" is ${taken}, and cannot be a profile's`,
    hint,
  );
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
  profile: StoredProfile | ForeignProfile,
): void {
  checkProfileName(name);
  const back = asOwner(runtime, folderOf(runtime, file));
  try {
    const old = readPrivateFile(runtime, file);
    const names = old === null ? [] : [...parseProfiles(old, file).keys()];
    if (names.includes(name)) {
      throw new FailureError(
        `there is a profile "${name}" in ${file} already`,
        "store this one under another name with --name NAME",
      );
    }
    const before = old ?? HEADER;
    const gap = before === "" || before.endsWith("\n") ? "" : "\n";
    const content = `${before}${gap}${formatProfile(name, profile)}`;
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
  } finally {
    back();
  }
}

/** The text of one profile, as {@linkcode parseProfiles} reads it. */
export function formatProfile(
  name: string,
  profile: StoredProfile | ForeignProfile,
): string {
  if ("keys" in profile) {
    const { server, keys } = profile;
    return stringifyYaml({
      [name]: { server: formatEndpoint(server), ...keys },
    });
  }
  const { server, key, psk, code } = profile;
  return stringifyYaml({
    [name]: {
      server: formatEndpoint(profile),
      knock: {
        server: formatBase64url(server),
        key: formatBase64url(key),
        psk: formatBase64url(psk),
      },
      ...(code === undefined ? {} : { code }),
    },
  });
}

function holds(
  content: string,
  file: string,
  names: readonly string[],
): boolean {
  try {
    const found = parseProfiles(content, file);
    return found.size === names.length &&
      names.every((name) => found.has(name));
  } catch {
    return false;
  }
}
