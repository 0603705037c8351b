/** knock(1), from the help texts of the commands. */

import { COMMANDS } from "../../lib/commands/table.ts";
import {
  formatLiteral,
  formatPage,
  formatParagraph,
  formatTags,
  quote,
} from "./mdoc.ts";

const ENVIRONMENT: readonly [string, string][] = [
  ["KNOCK_CONFIG", "The server's configuration, where `--config` is absent."],
  ["KNOCK_PROFILES", "The client's profiles, where `--profiles` is absent."],
  ["STATE_DIRECTORY", "The folder of the state; systemd sets it."],
];

const FILES: readonly [string, string][] = [
  ["/etc/knock/server.yaml", "The server's configuration, for root."],
  ["/etc/knock/server.key", "The server's private key."],
  ["/var/lib/knock", "The state: what was accepted, what is open, the log."],
  ["~/.config/knock/profiles.yaml", "The client's profiles."],
];

const EXITS: readonly [string, string][] = [
  ["0", "Done."],
  ["1", "It failed: refused, no reply, or not open in time."],
  ["2", "A mistake in the command line or in a configuration."],
];

/** Writes the page. */
export async function formatHelpPage(date: string): Promise<string> {
  const commands: string[] = [];
  for (const [name, load] of Object.entries(COMMANDS)) {
    if (name === "help") continue;
    commands.push(
      `.Ss ${quote(`knock ${name}`)}`,
      ...formatHelp((await load()).help),
    );
  }
  return formatPage(
    "knock",
    1,
    date,
    "hide network services, and open them to clients that prove their identity",
    [
      ".Sh SYNOPSIS",
      ".Nm",
      ".Ar command",
      ".Op Ar arguments",
      ".Nm",
      ".Ar profile",
      ".Op Ar options",
      ".Sh DESCRIPTION",
      formatParagraph(
        "A server with knock drops all packets to its services' ports. One " +
          "authenticated packet opens them for a limited time, for the " +
          "sender's address alone. One program is the server " +
          "(`knock serve`) and the client (`knock PROFILE`).",
      ),
      ".Pp",
      formatParagraph(
        "`knock help COMMAND` prints what stands below about a command.",
      ),
      ".Sh COMMANDS",
      ...commands,
      ".Sh ENVIRONMENT",
      formatTags(ENVIRONMENT),
      ".Sh FILES",
      formatTags(FILES),
      ".Sh EXIT STATUS",
      formatTags(EXITS),
      ".Sh SEE ALSO",
      ".Xr knock-server.yaml 5 ,",
      ".Xr nft 8",
    ],
  );
}

/** The body of a help text: blocks with empty lines between them. */
function formatHelp(help: string): string[] {
  const parts: string[] = [];
  let isFirst = true;
  for (const block of help.trimEnd().split(/\n{2,}/)) {
    const [head, ...lines] = block.split("\n");
    const title = /^([A-Z]\w*):$/.exec(head!)?.[1];
    if (title === "Options") {
      parts.push(formatTags(readTags(lines)));
    } else if (title !== undefined) {
      if (title !== "Usage") parts.push(".Pp", `${title}:`);
      parts.push(formatLiteral(outdent(lines)));
    } else if (/^ {2,}/.test(head!)) {
      parts.push(formatLiteral(outdent([head!, ...lines])));
    } else {
      if (!isFirst) parts.push(".Pp");
      parts.push(formatParagraph(block));
    }
    isFirst = false;
  }
  return parts;
}

/** "    -c, --config FILE    Words" and the lines below that go on with them. */
function readTags(lines: readonly string[]): [string, string][] {
  const tags: [string, string][] = [];
  for (const line of lines) {
    const [, tag, text = ""] =
      /^ {2,10}(-\S.*?)(?:(?: {2,}|(?<= [A-Z]{2,}) )(\S.*))?$/.exec(line) ??
        [];
    if (tag !== undefined) tags.push([tag, text]);
    else if (tags.length > 0) tags.at(-1)![1] += ` ${line.trim()}`;
  }
  return tags;
}

function outdent(lines: readonly string[]): string {
  const depth = Math.min(
    ...lines.filter((line) => line.trim()).map((line) => line.search(/\S/)),
  );
  return lines.map((line) => line.slice(depth)).join("\n");
}
