/** Words that fit each place of a command line, for the shells and the manual. */

import { CONVERTERS } from "../../config/convert/table.ts";
import { BACKENDS } from "../../config/shape.ts";
import { DIALECT_NAMES } from "../../dialects/table.ts";
import { type CommandName, SUMMARIES } from "../../values/program.ts";
import { type Commands, type OptionLine, readOptionLines } from "../command.ts";

/** Value of an option or argument: a kind of word, or one of these words. */
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
export interface OptionWord extends Omit<OptionLine, "value"> {
  /** Kind of its value; null for an option without one. */
  readonly value: Kind | null;
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

/** Values of options by "COMMAND --NAME" where one differs, by long name, or by the value's name in help texts. */
const VALUES: Readonly<Record<string, Kind>> = {
  FILE: "file",
  DIR: "folder",
  backend: BACKENDS,
  mode: ["guard", "accept"],
  dialect: DIALECT_NAMES,
  from: ["source", "resolve"],
  transport: ["udp", "tcp", "http"],
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
export async function readCommandWords(
  commands: Commands,
): Promise<readonly CommandWord[]> {
  const words: CommandWord[] = [];
  for (const [name, summary] of Object.entries(SUMMARIES)) {
    const { help, subcommands = {} } = await commands[name as CommandName]();
    const under = Object.entries(subcommands);
    words.push({
      ...describe(name, summary, under.length > 0 ? "" : help),
      ...under.length > 0 && { first: under.map(([word]) => word) },
    });
    for (const [word, options] of under) {
      words.push(describe(`${name} ${word}`, summary, options));
    }
  }
  return words;
}

function describe(name: string, summary: string, help: string): CommandWord {
  const [first = "free", rest = "free"] = POSITIONALS[name] ?? [];
  const lines = readOptionLines(`${help}\n    -h, --help  Explain the command`);
  const options = lines.map((line) => ({
    ...line,
    value: line.value === null ? null : (VALUES[`${name} --${line.long}`] ??
      VALUES[line.long] ?? VALUES[line.value] ?? "free"),
  }));
  return { name, summary, first, rest, options };
}
