/** `knock import` of other tools' client files. */

import { addProfileText } from "../../client/profile/file.ts";
import {
  formatForeignProfile,
  readForeignProfiles,
} from "../../client/profile/foreign.ts";
import { checkProfileName } from "../../client/profile/profiles.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import type { Options } from "../command.ts";

/** Stores the profiles of another tool's file, and returns the exit status. */
export function importForeign(
  runtime: Runtime,
  file: string,
  options: Options,
  { text, source }: { readonly text: string; readonly source: string },
): number {
  const shown = source === "-" ? "standard input" : source;
  if (options.value("key") !== undefined || options.flag("ask-code")) {
    const option = options.flag("ask-code") ? "--ask-code" : "--key";
    throw new UsageError(`${option} is for an enrolment, not for ${shown}`);
  }
  const found = readForeignProfiles(text, shown);
  const given = options.value("name");
  if (given !== undefined && found.length > 1) {
    throw new UsageError(
      `--name is for one profile, and ${shown} has ${found.length}`,
    );
  }
  const profiles = found.map((profile) => {
    const name = given ?? profile.name ?? profile.server.host;
    checkProfileName(name);
    return { ...profile, name };
  });
  for (const profile of profiles) {
    const { name, server, notes } = profile;
    const shown = escapeUnsafe(name);
    addProfileText(runtime, file, name, formatForeignProfile(name, profile));
    runtime.err(
      `profile "${shown}" is stored: \`knock ${shown}\` knocks at ` +
        `${formatEndpoint(server)}\n`,
    );
    for (const note of notes) {
      runtime.err(`knock: hint: ${escapeUnsafe(note)}\n`);
    }
  }
  return 0;
}
