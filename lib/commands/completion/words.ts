/** What can stand where on a command line: for the shells and the manual. */

import { CONVERTERS } from "../../config/convert/table.ts";
import { BACKENDS } from "../../config/shape.ts";
import type { OptionNames } from "../command.ts";
import { COMMANDS } from "../table.ts";

/** What is written in a place: a kind of word, or one of these words. */
export type Kind =
  | "file"
  | "folder"
  | "profile"
  | "client"
  | "command"
  | "program"
  | "free"
  | readonly string[];

/** An option, as a shell completes it. */
export interface OptionWord {
  readonly long: string;
  /** A single letter, or "". */
  readonly short: string;
  /** What its value is; null for an option without one. */
  readonly value: Kind | null;
  readonly repeats: boolean;
  /** The first sentence of its help, without a full stop. */
  readonly summary: string;
}

/** A command, or a subcommand as "client add". */
export interface CommandWord {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly OptionWord[];
  /** The first word behind it, and all further ones. */
  readonly first: Kind;
  readonly rest: Kind;
}

/** Values of options by long name, or by "COMMAND --NAME" where one differs. */
const VALUES: Readonly<Record<string, Kind>> = {
  config: "file",
  profiles: "file",
  svg: "file",
  dir: "folder",
  backend: BACKENDS,
  mode: ["guard", "accept"],
  dialect: ["knock", "fwknop", "openme", "openspa"],
  from: ["source", "resolve"],
  transport: ["udp", "tcp", "http"],
  "import --key": "file",
  "decode --from": "free",
  "log --client": "client",
};

/** Words behind a command; "free" where it is not said. */
const POSITIONALS: Readonly<Record<string, readonly [Kind, Kind?]>> = {
  check: ["file"],
  convert: [Object.keys(CONVERTERS), "file"],
  import: ["file"],
  send: ["profile"],
  close: ["profile"],
  ping: ["profile"],
  run: ["profile"],
  exec: ["profile", "program"],
  proxy: ["profile"],
  help: ["command"],
  completion: [["bash", "zsh", "fish"]],
  "client show": ["client"],
  "client remove": ["client"],
};

/** Every command and subcommand, in the order of `knock help`. */
export async function readCommandWords(): Promise<readonly CommandWord[]> {
  const words: CommandWord[] = [];
  for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
    const { help, optionNames, subcommands = {} } = await load();
    const under = Object.entries(subcommands);
    words.push({
      ...describe(name, summary, help, optionNames),
      ...under.length > 0 && { first: under.map(([word]) => word) },
    });
    for (const [word, names] of under) {
      words.push(describe(`${name} ${word}`, summary, help, names));
    }
  }
  return words;
}

function describe(
  name: string,
  summary: string,
  help: string,
  { flags = {}, values = {}, lists = {} }: OptionNames,
): CommandWord {
  const summaries = readOptionSummaries(help);
  const option = (long: string, short: string) => ({
    long,
    short,
    repeats: Object.hasOwn(lists, long),
    summary: summaries.get(long) ?? "",
  });
  const kindOf = (long: string) =>
    VALUES[`${name} --${long}`] ?? VALUES[long] ?? "free";
  const [first = "free", rest = "free"] = POSITIONALS[name] ?? [];
  return {
    name,
    summary,
    first,
    rest,
    options: [
      ...Object.entries(flags).map(([long, short]) => ({
        ...option(long, short),
        value: null,
      })),
      ...Object.entries({ ...values, ...lists }).map(([long, short]) => ({
        ...option(long, short),
        value: kindOf(long),
      })),
      {
        long: "help",
        short: "h",
        value: null,
        repeats: false,
        summary: "Explain the command",
      },
    ],
  };
}

/** An option's line in a help text: "    -c, --config FILE    Words"; or several options. */
const OPTION_LINE =
  /^ {4,8}((?:-\w, )?--[a-z][\w-]*(?:, --[a-z][\w-]*)*)(?: [A-Z]\S*)?(?:(?: {2,}|(?<= [A-Z]\S*) )(\S.*))?$/;

/** The first sentence about each option of a help text, by long name. */
export function readOptionSummaries(
  help: string,
): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  let names: string[] = [];
  for (const line of help.split("\n")) {
    const [, options, words = ""] = OPTION_LINE.exec(line) ?? [];
    if (options !== undefined) {
      names = [...options.matchAll(/--([\w-]+)/g)].map(([, name]) => name!);
      for (const name of names) texts.set(name, words);
    } else if (/^ {10,}\S/.test(line)) {
      for (const name of names) {
        texts.set(name, `${texts.get(name)} ${line.trim()}`.trim());
      }
    } else names = [];
  }
  for (const [option, text] of texts) {
    texts.set(option, text.split(/[.;](?: |$)/)[0]!);
  }
  return texts;
}
