/** The command line of knockd's own client: `knock HOST PORT[:PROTO] ...`. */

import type { Runtime } from "../../runtime/runtime.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import { OperatorError, UsageError } from "../../values/errors.ts";
import { type Options, parseOptions } from "../command.ts";
import { knockAt, readFamily, readHits, SEQ_FLAGS } from "./seq.ts";

/** What a port looks like there, right or wrong. */
const PORT = /^-?\d+(:\w*)?$/;

/** A service's name in the place of a port. */
const NAME = /^[A-Za-z][\w.+-]*(:\w*)?$/;

/** The longest pause, milliseconds. */
const MAX_DELAY_MS = 3_600_000;

/**
 * Whether a command line is one of knockd's client: a host that is no command
 * of ours, then ports, the first or another in digits.
 */
export function isDropIn(args: readonly string[]): boolean {
  if (COMMAND_NAMES.includes(args[0] ?? "")) return false;
  try {
    const [host, ...ports] = read(args).positionals;
    return host !== undefined && ports.some((port) => PORT.test(port)) &&
      ports.every((port) => PORT.test(port) || NAME.test(port));
  } catch (error) {
    if (error instanceof OperatorError) return false;
    throw error;
  }
}

/** Runs such a command line, and returns the exit status. */
export async function runDropIn(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  const options = read(args);
  const [host, ...ports] = options.positionals;
  return await knockAt(runtime, {
    host: host!,
    hits: readHits(runtime, ports, options.flag("udp")),
    delayMs: readDelay(options.value("delay") ?? "0"),
    family: readFamily(options.flag("ipv4"), options.flag("ipv6")),
    verbose: options.flag("verbose"),
  });
}

function read(args: readonly string[]): Options {
  return parseOptions(args.flatMap(apart), {
    flags: SEQ_FLAGS,
    values: { delay: "d" },
  });
}

/** Single-letter options written together, as getopt(3) takes them: `-vud50`. */
function apart(argument: string): string[] {
  const match = /^-([vu46]*)(?:(d)(.*))?$/.exec(argument);
  if (!match || argument === "-") return [argument];
  const [, flags = "", delay, ms = ""] = match;
  return [
    ...[...flags].map((flag) => `-${flag}`),
    ...(delay === undefined ? [] : ms === "" ? ["-d"] : [`--delay=${ms}`]),
  ];
}

function readDelay(text: string): number {
  const delayMs = /^\d{1,7}$/.test(text) ? Number(text) : Infinity;
  if (delayMs <= MAX_DELAY_MS) return delayMs;
  throw new UsageError(
    `option "-d" must be milliseconds, 0 to ${MAX_DELAY_MS}, got "${text}"`,
  );
}
