/** The file of profiles on this machine: 0600, or it is refused. */

import { configError } from "../../values/mistake.ts";
import { rightsMistake } from "../../config/files/rights.ts";
import { NAME } from "../../config/shapes.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import { ConfigError, UsageError } from "../../values/errors.ts";
import { nearest } from "../../values/nearest.ts";
import { parseProfiles, type Profile } from "./profile.ts";
import { RESOLVE_KEY } from "./resolving.ts";

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
  if (profiles.size > 0) {
    throw new UsageError(
      `no profile "${name}" in ${file}`,
      nearest(name, [...profiles.keys()]) ?? nearest(name, COMMAND_NAMES) ??
        "`knock profiles` lists them",
    );
  }
  const hints = [nearest(name, COMMAND_NAMES), HOW_TO_BEGIN];
  throw new UsageError(
    `no profile "${name}": there are none in ${file} yet`,
    hints.filter((hint) => hint !== undefined).join("\n"),
  );
}

const HOW_TO_BEGIN = "`knock client add NAME` on the server prints a line, " +
  "`knock import` asks for it here";

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

/** The text of a file that only its owner can use; null when there is none. */
export function readPrivateFile(runtime: Runtime, file: string): string | null {
  try {
    const info = runtime.files.stat(file);
    if (!info) return null;
    if (info.isFolder) {
      throw new ConfigError([`${file}: is a folder, not a file`]);
    }
    const rights = rightsMistake(runtime, file, info);
    if (rights) throw configError(file, [{ path: "", ...rights }]);
    return runtime.files.readText(file);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new ConfigError(
      [`${file}: cannot be read: ${error.message}`],
      error.code === "EACCES" ? "run it as the file's owner" : undefined,
    );
  }
}
