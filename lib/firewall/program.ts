/** Programs of the configuration: argv, never a shell, and not for longer than a limit. */

import { type Runtime, SystemError } from "../runtime/runtime.ts";
import { escapeUnsafe } from "../values/text.ts";

/** What became of a program. */
export interface Ended {
  /** Null when it ended with 0; else how it failed, in words that are safe in a log. */
  readonly failure: string | null;
  /** What it said, standard output before standard error, in lines safe in a log. */
  readonly lines: readonly string[];
}

export interface ProgramOptions {
  /** Added to the server's own environment. */
  readonly env: Readonly<Record<string, string>>;
  /** After so long its whole process group is killed. */
  readonly limitMs: number;
}

/** A line's characters that are kept. */
const MAX_COLUMNS = 500;

/** How long a killed program's output may stay open: a child may have left its group. */
const GRACE_MS = 1000;

/** Runs a program to its end. Never throws SystemError: that is a failure, too. */
export async function runProgram(
  runtime: Runtime,
  argv: readonly string[],
  { env, limitMs }: ProgramOptions,
): Promise<Ended> {
  const late = `no end within ${limitMs / 1000} s`;
  const over = new AbortController();
  const startMs = runtime.monotonicMs();
  try {
    const ran = await Promise.race([
      runtime.run(argv, { env, timeoutMs: limitMs }),
      runtime.sleep(limitMs + GRACE_MS, over.signal).then(() => null),
    ]);
    if (ran === null) return { failure: late, lines: [] };
    const lines = printable(ran.stdout + ran.stderr);
    if (ran.code === 0) return { failure: null, lines };
    if (ran.code === null) {
      const killed = runtime.monotonicMs() - startMs >= limitMs;
      return { failure: killed ? late : "ended by a signal", lines };
    }
    const words = printable(ran.stderr).at(-1);
    const failure = `ended with ${ran.code}${words ? `: ${words}` : ""}`;
    return { failure, lines };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const failure = `cannot run "${argv[0]}": ${error.message}`;
    return { failure, lines: [] };
  } finally {
    over.abort();
  }
}

/** Lines of a program's output, control characters escaped. */
function printable(text: string): string[] {
  return text.split("\n").map((line) =>
    escapeUnsafe(line.slice(0, MAX_COLUMNS).trimEnd())
  ).filter(Boolean);
}
