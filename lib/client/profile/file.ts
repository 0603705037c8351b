/** The file of profiles on this machine, read: 0600, or it is refused. */

import { rightsMistake } from "../../config/files/rights.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  ConfigError,
  failing,
  type SystemError,
  UsageError,
} from "../../values/errors.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import { configError } from "../../values/schema.ts";
import { nearest } from "../../values/text.ts";
import { parseProfiles, type Profile } from "./profile.ts";

/**
 * Reads a file of profiles; empty when there is none. Throws ConfigError with
 * every mistake in it, and when others can read or write it.
 */
export function readProfiles(
  runtime: Runtime,
  file: string,
): ReadonlyMap<string, Profile> {
  const content = readPrivateFile(runtime, file);
  return content === null ? new Map() : parseProfiles(content, file);
}

/** Finds a profile by its name; throws UsageError with what to do if there is none. */
export function findProfile(
  runtime: Runtime,
  file: string,
  name: string,
): Profile {
  const profiles = readProfiles(runtime, file);
  const profile = profiles.get(name);
  if (profile) return profile;
  const command = nearest(name, COMMAND_NAMES);
  if (profiles.size > 0) {
    throw new UsageError(
      `no profile "${name}" in ${file}`,
      nearest(name, [...profiles.keys()]) ?? command ??
        "`knock profiles` lists them",
    );
  }
  const begin = "`knock client add NAME` on the server prints a line, " +
    "`knock import` asks for it here";
  throw new UsageError(
    `no profile "${name}": there are none in ${file} yet`,
    command === undefined ? begin : `${command}\n${begin}`,
  );
}

/** The text of a file that only its owner can use; null when there is none. */
export function readPrivateFile(runtime: Runtime, file: string): string | null {
  const unreadable = ({ code, message }: SystemError) =>
    new ConfigError(
      [`${file}: cannot be read: ${message}`],
      code === "EACCES" ? "run it as the file's owner" : undefined,
    );
  return failing(unreadable, () => {
    const info = runtime.files.stat(file);
    if (!info) return null;
    if (info.isFolder) {
      throw new ConfigError([`${file}: is a folder, not a file`]);
    }
    const rights = rightsMistake(runtime, file, info);
    if (rights) throw configError(file, [{ path: "", ...rights }]);
    return runtime.files.readText(file);
  });
}
