import { readProfiles } from "../../client/profile/file.ts";
import type { From, Profile } from "../../client/profile/profile.ts";
import { profilesFile } from "../../config/files/places.ts";
import { dialectOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatPortRange } from "../../values/ports.ts";
import { escapeUnsafe, formatJson, formatTable } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import { parseOptions, takePositionals } from "../command.ts";

export const help = `Usage:
    knock profiles [--json|--names] [--profiles FILE]

Lists this user's profiles, the servers to knock at. Never shows secrets.

Options:
    --json             One JSON list, for programs.
    --names            The names alone, one a line.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

Example:
    $ knock profiles
    NAME    SERVER                  DIALECT  DEFAULTS
    home    home.example.org:62201  knock    tcp/22 for 1h
    office  [2001:db8::7]:62201     knock
`;

/** Runs `knock profiles`, and returns the exit status. */
// deno-lint-ignore require-await -- as all commands
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const file = profilesFile(runtime, options.value("profiles"));
  const profiles = [...readProfiles(runtime, file).values()];
  if (options.flag("names")) {
    runtime.out(profiles.map(({ name }) => `${escapeUnsafe(name)}\n`).join(""));
  } else if (options.flag("json")) {
    runtime.out(`${formatJson(profiles.map(describe), 2)}\n`);
  } else if (profiles.length === 0) {
    runtime.err(
      `no profiles in ${escapeUnsafe(file)} yet: \`knock import\` stores one\n`,
    );
  } else {
    const rows = profiles.map((profile) => {
      const { name, server, dialect } = describe(profile);
      return [name, server, dialect, tellDefaults(profile)];
    });
    runtime.out(formatTable(["NAME", "SERVER", "DIALECT", "DEFAULTS"], rows));
  }
  return 0;
}

function describe(profile: Profile) {
  const { name, server, open, seconds, from } = profile;
  return {
    name,
    server: formatEndpoint(server),
    dialect: dialectOf(profile),
    open: open.map(formatPortRange),
    seconds,
    from: tellFrom(from),
  };
}

function tellDefaults({ open, seconds, from }: Profile): string {
  return [
    open.map(formatPortRange).join(","),
    seconds > 0 ? `for ${formatDuration(seconds)}` : "",
    from === "source" ? "" : `from ${tellFrom(from)}`,
  ].filter(Boolean).join(" ");
}

function tellFrom(from: From): string {
  return typeof from === "string" ? from : from.address;
}
