/** A command, its options, and their readers. */

import { parseArgs } from "@std/cli/parse-args";
import type { Runtime } from "../runtime/runtime.ts";
import { UsageError } from "../values/errors.ts";
import type { CommandName } from "../values/program.ts";
import {
  coloured,
  escapeUnsafe,
  nearest,
  type Paint,
  plain,
} from "../values/text.ts";
import { durationHint, parseDuration } from "../values/time.ts";

/** A command's module: `lib/commands/NAME.ts` exports these. */
export interface Command {
  /**
   * The text of `knock help NAME`: usage, options, words, an example. Its lines
   * of options are what declares them, for parsing, completion and the manual.
   */
  readonly help: string;
  /** The words that may stand first behind the name, each with its lines of options. */
  readonly subcommands?: Readonly<Record<string, string>>;
  /**
   * Runs it and returns the exit status. Throws OperatorErrors. `commands` is
   * for those that describe the others.
   */
  run(args: string[], runtime: Runtime, commands: Commands): Promise<number>;
}

/** The modules of all commands, loaded when they are used. */
export type Commands = Readonly<Record<CommandName, () => Promise<Command>>>;

/** An option that a help text declares. */
export interface OptionLine {
  readonly long: string;
  /** A single letter, or "". */
  readonly short: string;
  /** The words that it is typed as: --config, -c. */
  readonly names: readonly string[];
  /** The name of its value, such as FILE; null for an option without one. */
  readonly value: string | null;
  /** True for an option that may be given several times: its value's name ends with "...". */
  readonly repeats: boolean;
  /** The first sentence about it, without a full stop. */
  readonly summary: string;
}

/** A line that declares options: "    -c, --config FILE    Words"; or several options. */
const OPTION_LINE =
  /^ {4,8}((?:-\w, )?--[a-z][\w-]*(?:, --[a-z][\w-]*)*)(?: ([A-Z]\S*))?(?:(?: {2,}|(?<= [A-Z]\S*) )(\S.*))?$/;

/** Reads the options that a help text declares. */
export function readOptionLines(help: string): readonly OptionLine[] {
  // Indented words below an option are still about it.
  const lines = help.replace(/\n {10,}(?=\S)/g, "  ").split("\n");
  return lines.flatMap((line) => {
    const [, names = "", value = null, text = ""] = OPTION_LINE.exec(line) ??
      [];
    const short = /^-(\w),/.exec(names)?.[1] ?? "";
    return [...names.matchAll(/--([\w-]+)/g)].map(([name, long]) => ({
      long: long!,
      short,
      names: short ? [name, `-${short}`] : [name],
      value,
      repeats: value?.endsWith("...") ?? false,
      summary: text.replace(/ +/g, " ").split(/[.;](?: |$)/)[0]!,
    }));
  });
}

export interface Options {
  /** Usage of the command, on one line; undefined for subcommands. */
  readonly usage: string | undefined;
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  value(name: string): string | undefined;
  list(name: string): readonly string[];
}

/** A dash that a text program made of a hyphen, before an option's name. */
const PASTED_DASH =
  /^[\u2010-\u2015\u2212\ufe58\ufe63\uff0d][-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]*(?=[A-Za-z0-9])/;

/**
 * Reads a command's arguments by the options that its help declares; throws
 * UsageError with the nearest option as the hint. With `stopEarly`, what stands
 * behind the first positional is another program's.
 */
export function parseOptions(
  args: readonly string[],
  help: string,
  { stopEarly = false } = {},
): Options {
  const lines = readOptionLines(help);
  const known = lines.map(({ long }) => long);
  const withValue = lines.filter(({ value }) => value !== null);
  const valued = withValue.map(({ long }) => long);
  const alias = Object.fromEntries(
    lines.filter(({ short }) => short).map(({ long, short }) => [short, long]),
  );
  const parsed = parseArgs(joinDashed(args, withValue), {
    boolean: known.filter((name) => !valued.includes(name)),
    string: [...valued, "_"],
    collect: valued,
    alias,
    stopEarly,
    unknown: (argument: string, key?: string) => {
      if (key === undefined) return true;
      throw new UsageError(
        `unknown option "${argument.replace(/=.*$/s, "")}"`,
        nearest(key, known, "--"),
      );
    },
  }) as Record<string, unknown> & { _: string[] };

  const pasted = parsed._.find((word) => PASTED_DASH.test(word));
  if (pasted !== undefined && !stopEarly) {
    const typed = pasted.replace(PASTED_DASH, "-");
    throw new UsageError(
      `unknown option "${pasted}": its dash is no hyphen`,
      `type it anew: ${/^-[a-z]{2}/.test(typed) ? `-${typed}` : typed}`,
    );
  }
  const given = (name: string) => (parsed[name] ?? []) as string[];
  for (const name of valued) {
    if (given(name).includes("")) {
      throw new UsageError(
        `--${name} needs a value`,
        `a value that starts with a dash is written --${name}=VALUE`,
      );
    }
  }
  return {
    usage: /^Usage:\n +(.*(?:\n {8,}.*)*)/.exec(help)?.[1]
      ?.replace(/\s+/g, " "),
    positionals: parsed._,
    flag: (name) => parsed[name] === true,
    value: (name) => given(name).at(-1),
    list: (name) => given(name),
  };
}

/** A negative number, or a key: one in 64 begins with a dash. An option is one letter, or has two dashes. */
const DASHED_VALUE = /^-(\d|[\w-]{42}$)/;

/** Arguments with a value that begins with a dash joined to the option before it. */
function joinDashed(
  args: readonly string[],
  options: readonly OptionLine[],
): string[] {
  const takes = new Set(options.flatMap(({ names }) => names));
  const joined: string[] = [];
  for (const arg of args) {
    const before = joined.at(-1);
    if (DASHED_VALUE.test(arg) && before !== undefined && takes.has(before)) {
      joined.splice(-1, 1, `${before}=${arg}`);
    } else joined.push(arg);
  }
  return joined;
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
    durationHint(words),
  );
}

/** The port that an option or a word names; throws UsageError. */
export function readPort(what: string, words: string): number {
  const port = /^\d{1,5}$/.test(words) ? Number(words) : 0;
  if (port >= 1 && port <= 65_535) return port;
  const wanted = /port$/i.test(what) ? "1 to 65535" : "a port, 1 to 65535";
  throw new UsageError(`${what} must be ${wanted}, got "${words}"`);
}

/** Which of some words this is; throws UsageError with the nearest one. */
export function oneOf<T extends string>(
  what: string,
  words: string,
  known: readonly T[],
): T {
  const found = known.find((word) => word === words);
  if (found !== undefined) return found;
  const all = `${known.slice(0, -1).join(", ")} or ${known.at(-1)}`;
  throw new UsageError(
    `${what} must be ${all}, got "${words}"`,
    nearest(words, known),
  );
}

/** Takes just these positionals; throws UsageError when one misses or is too many. */
export function takePositionals(
  options: Options,
  wanted: readonly string[],
  optional = 0,
): string[] {
  const { positionals, usage } = options;
  if (positionals.length < wanted.length - optional) {
    throw new UsageError(`${wanted[positionals.length]} is missing`, usage);
  }
  const extra = positionals[wanted.length];
  if (extra === undefined) return [...positionals];
  throw new UsageError(`unexpected argument "${extra}"`, usage);
}

/** Prints a hint, on stderr. */
export function printHint(runtime: Runtime, words: string): void {
  runtime.err(`knock: hint: ${words}\n`);
}

/** Prints a warning, on stderr. */
export function printWarning(runtime: Runtime, words: string): void {
  runtime.err(`knock: warning: ${escapeUnsafe(words)}\n`);
}

/** Does some work that SIGINT and SIGTERM end. */
export async function untilStopped<T>(
  runtime: Runtime,
  work: (stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const signals = (["SIGINT", "SIGTERM"] as const).map((name) =>
    runtime.onSignal(name, () => stop.abort())
  );
  try {
    return await work(stop.signal);
  } finally {
    for (const signal of signals) signal.stop();
  }
}

/** Painting for a standard stream: in colour on a terminal, unless NO_COLOR is set. */
export function paintFor(runtime: Runtime, stream: "out" | "err"): Paint {
  // https://no-color.org
  return runtime.isTerminal(stream) && runtime.env("NO_COLOR") === undefined &&
      runtime.env("TERM") !== "dumb"
    ? coloured
    : plain;
}

/** Where a text is shown: in local time on a terminal, in RFC 3339 elsewhere. */
export interface Page {
  readonly isTerminal: boolean;
  /** Longer lines are broken. */
  readonly columns: number;
  readonly paint: Paint;
}

/** The page that standard output is now. */
export function pageOf(runtime: Runtime): Page {
  const isTerminal = runtime.isTerminal("out");
  const columns = isTerminal ? runtime.columns() : Infinity;
  return { isTerminal, columns, paint: paintFor(runtime, "out") };
}

/** Prints lines whose every part a {@linkcode Paint} has made safe; false if their reader went away. */
export function printPainted(
  runtime: Runtime,
  lines: readonly string[],
): boolean {
  return runtime.paint("out", lines.map((line) => line + "\n").join(""));
}
