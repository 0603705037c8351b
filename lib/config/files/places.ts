/** Default places of files. */

import { posix, win32 } from "node:path";
import type { Runtime } from "../../runtime/runtime.ts";
import { caught, UsageError } from "../../values/errors.ts";

/** The system's own configuration, which root's commands use. */
const SYSTEM_CONFIG = "/etc/knock/server.yaml";

/** The system's state folder, as systemd's StateDirectory=knock makes it. */
const SYSTEM_STATE = "/var/lib/knock";

/** The configuration's name in its folder. */
export const CONFIG_NAME = "server.yaml";

/**
 * The server's configuration: what `--config` says, else KNOCK_CONFIG, else
 * {@linkcode defaultConfig} where there is one; null where there is none. A
 * file that was named need not exist.
 */
export function findConfig(
  runtime: Runtime,
  option: string | undefined,
): string | null {
  const named = option ?? runtime.env("KNOCK_CONFIG");
  if (named !== undefined) return named;
  const file = defaultConfig(runtime);
  return runtime.files.stat(file) ? file : null;
}

/** As {@linkcode findConfig}, and throws UsageError where there is none. */
export function needConfig(
  runtime: Runtime,
  option: string | undefined,
): string {
  const file = findConfig(runtime, option);
  if (file !== null) return file;
  throw new UsageError(
    `there is no configuration at "${defaultConfig(runtime)}"`,
    hasProfiles(runtime)
      ? "this machine has a client's profiles: run it on the server, or " +
        "`knock ping PROFILE` here"
      : "`knock init` writes one, `knock serve` too; --config FILE names another",
  );
}

/** The configuration that a new one is written to: root's or the user's. */
export function defaultConfig(runtime: Runtime): string {
  return runtime.userId() === 0
    ? SYSTEM_CONFIG
    : configIn(runtime, userFolder(runtime, "config"));
}

/** The configuration in a folder. */
export function configIn(runtime: Runtime, folder: string): string {
  return beside(runtime).join(folder, CONFIG_NAME);
}

/**
 * The folder of the state file of a configuration: `written` is what its
 * `state` says, from the configuration's folder; else STATE_DIRECTORY, else
 * what belongs to the file's place.
 */
export function stateFolder(
  runtime: Runtime,
  file: string,
  written: string | null,
): string {
  if (written !== null) return pathBeside(runtime, file, written);
  // systemd lists several folders with ":" between; ours is the first.
  const given = runtime.env("STATE_DIRECTORY")?.split(":")[0];
  if (given) return given;
  if (file === SYSTEM_CONFIG) return SYSTEM_STATE;
  // Root has no folder of its own here, and needs no HOME.
  if (runtime.userId() !== 0 && file === defaultConfig(runtime)) {
    return userFolder(runtime, "state");
  }
  return pathBeside(runtime, file, "state");
}

/** The client's profiles: what `--profiles` says, else KNOCK_PROFILES, else the user's. */
export function profilesFile(
  runtime: Runtime,
  option: string | undefined,
): string {
  return option ?? runtime.env("KNOCK_PROFILES") ??
    beside(runtime).join(userFolder(runtime, "config"), "profiles.yaml");
}

/** True if this user has a file of profiles: a client's machine. */
export function hasProfiles(runtime: Runtime): boolean {
  try {
    return runtime.files.stat(profilesFile(runtime, undefined)) !== null;
  } catch {
    return false;
  }
}

/**
 * A file in the folder where this user's client keeps what it remembers; null
 * where the user has no home.
 */
export function clientFile(runtime: Runtime, name: string): string | null {
  return caught(UsageError, () => {
    const folder = userFolder(runtime, "state");
    return beside(runtime).join(folder, "client", name);
  }, () => null);
}

/** The folder that a file is in. */
export function folderOf(runtime: Runtime, file: string): string {
  return beside(runtime).dirname(file);
}

/** A path that a file names, from the folder which that file is in. */
export function pathBeside(
  runtime: Runtime,
  file: string,
  name: string,
): string {
  const path = beside(runtime);
  return path.isAbsolute(name) ? name : path.join(path.dirname(file), name);
}

function beside(runtime: Runtime): typeof posix {
  return runtime.platform === "windows" ? win32 : posix;
}

function userFolder(runtime: Runtime, kind: "config" | "state"): string {
  const windows = runtime.platform === "windows";
  const [variable, fallback] = windows
    ? kind === "config"
      ? ["APPDATA", "AppData\\Roaming"] as const
      : ["LOCALAPPDATA", "AppData\\Local"] as const
    : kind === "config"
    ? ["XDG_CONFIG_HOME", ".config"] as const
    : ["XDG_STATE_HOME", ".local/state"] as const;
  const path = beside(runtime);
  const base = runtime.env(variable);
  // The XDG specification: a path that is not absolute is to be ignored.
  if (base && path.isAbsolute(base)) return path.join(base, "knock");
  const home = runtime.env(windows ? "USERPROFILE" : "HOME");
  if (!home) {
    throw new UsageError(
      `there is no home folder: ${windows ? "USERPROFILE" : "HOME"} is not set`,
      "name the file with --config FILE, or --profiles FILE",
    );
  }
  return path.join(home, fallback, "knock");
}
