/** What every command is, and how its options are read. */

import { parseArgs } from "@std/cli/parse-args";
import type { Runtime } from "../runtime/runtime.ts";
import { UsageError } from "../values/errors.ts";
import { nearest } from "../values/text.ts";
import { parseDuration } from "../values/time.ts";

/** A command's module: `lib/commands/NAME.ts` exports these. */
export interface Command {
  /** The text of `knock help NAME`: usage, options, words, an example. */
  readonly help: string;
  /** What `run` reads with {@linkcode parseOptions}; for completion and the manual, too. */
  readonly optionNames: OptionNames;
  /** The same for the words that may stand first behind the name. */
  readonly subcommands?: Readonly<Record<string, OptionNames>>;
  /** Runs it and returns the exit status. Throws OperatorErrors. */
  run(args: string[], runtime: Runtime): Promise<number>;
}

/** Which options a command takes, by long name; a value is a single letter for short, or "". */
export interface OptionNames {
  /** Options without a value. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Options with one value; the last one given counts. */
  readonly values?: Readonly<Record<string, string>>;
  /** Options with one value that may be given several times. */
  readonly lists?: Readonly<Record<string, string>>;
  /** Stop at the first positional: the rest is another program's. */
  readonly stopEarly?: boolean;
}

export interface Options {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  value(name: string): string | undefined;
  list(name: string): readonly string[];
}

/** A dash that a text program made of a hyphen, before an option's name. */
const PASTED_DASH =
  /^[\u2010-\u2015\u2212\ufe58\ufe63\uff0d][-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]*(?=[A-Za-z0-9])/;

/** Reads a command's arguments; throws UsageError with the nearest option as the hint. */
export function parseOptions(
  args: readonly string[],
  names: OptionNames,
): Options {
  const { flags = {}, values = {}, lists = {} } = names;
  const valued = { ...values, ...lists };
  const known = Object.keys({ ...flags, ...valued });
  const alias: Record<string, string> = {};
  for (const [name, short] of Object.entries({ ...flags, ...valued })) {
    if (short) alias[short] = name;
  }
  const parsed = parseArgs([...args], {
    boolean: Object.keys(flags),
    string: [...Object.keys(valued), "_"],
    collect: Object.keys(valued),
    alias,
    stopEarly: names.stopEarly ?? false,
    unknown: (argument: string, key?: string) => {
      if (key === undefined) return true;
      throw new UsageError(
        `unknown option "${argument.replace(/=.*$/s, "")}"`,
        nearest(key, known, "--"),
      );
    },
  }) as Record<string, unknown> & { _: string[] };

  const pasted = parsed._.find((word) => PASTED_DASH.test(word));
  if (pasted !== undefined && !names.stopEarly) {
    const typed = pasted.replace(PASTED_DASH, "-");
    throw new UsageError(
      `unknown option "${pasted}": its dash is no hyphen`,
      `type it anew: ${/^-[a-z]{2}/.test(typed) ? `-${typed}` : typed}`,
    );
  }
  const given = (name: string) => (parsed[name] ?? []) as string[];
  for (const name of Object.keys(valued)) {
    if (given(name).includes("")) {
      throw new UsageError(
        `--${name} needs a value`,
        `a value that starts with a dash is written --${name}=VALUE`,
      );
    }
  }
  return {
    positionals: parsed._,
    flag: (name) => parsed[name] === true,
    value: (name) => given(name).at(-1),
    list: (name) => given(name),
  };
}

/** The seconds of an option that takes a duration, of so many at least; undefined where it is absent. */
export function readDuration(
  options: Options,
  name: string,
  least = 0,
): number | undefined {
  const words = options.value(name);
  if (words === undefined) return undefined;
  const seconds = parseDuration(words);
  if (seconds !== null && seconds >= least) return seconds;
  throw new UsageError(
    `--${name} must be a duration such as 90, 30s, 5m or 8h, got "${words}"`,
  );
}

/** Takes just these positionals; throws UsageError when one misses or is too many. */
export function takePositionals(
  options: Options,
  wanted: readonly string[],
  optional = 0,
): string[] {
  const { positionals } = options;
  const missing = wanted[positionals.length];
  if (positionals.length < wanted.length - optional) {
    throw new UsageError(`${missing} is missing`);
  }
  const extra = positionals[wanted.length];
  if (extra !== undefined) {
    throw new UsageError(`unexpected argument "${extra}"`);
  }
  return [...positionals];
}
