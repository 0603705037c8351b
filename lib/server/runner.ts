/** Runs hooks and commands: argv, never a shell, with a time limit. */

import type { Argv } from "../config/config.ts";
import type { Grant } from "../firewall/firewall.ts";
import {
  describeGrant,
  fillIn,
  toEnvironment,
} from "../firewall/placeholders.ts";
import { type Ran, type Runtime, SystemError } from "../runtime/runtime.ts";
import type { Log } from "./log.ts";

const HOOK_MS = 10_000;
const COMMAND_MS = 60_000;
/** Hooks that may wait for their turn; more are left out, and that is logged. */
const MAX_WAITING = 1000;
/** How much of a command's output is logged. */
const MAX_LINES = 100;
const MAX_COLUMNS = 500;

/** Runs programs of the configuration. */
export interface Runner {
  /** Runs a hook for a grant, after those before it; returns at once. */
  hook(argv: Argv | null, grant: Grant): void;
  /** Runs a named command, its output to the log; whether it ended with 0. */
  run(name: string, argv: Argv, by: Caller): Promise<boolean>;
}

/** Who has a command run. */
export interface Caller {
  readonly client: string;
  /** Canonical. */
  readonly address: string;
}

/** Makes a runner. Hooks run one after the other, commands by themselves. */
export function createRunner(runtime: Runtime, log: Log): Runner {
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;

  async function runHook(argv: Argv, grant: Grant): Promise<void> {
    const values = describeGrant(grant, runtime.nowMs());
    const failure = await attempt(
      runtime,
      fillIn(argv, values),
      toEnvironment(values),
      HOOK_MS,
    ).then((ran) => typeof ran === "string" ? ran : failureOf(ran, HOOK_MS));
    if (failure) log("error", `hook ${argv[0]}: ${failure}`);
  }

  return {
    hook(argv, grant) {
      if (!argv) return;
      if (waiting >= MAX_WAITING) {
        log("error", `hook ${argv[0]}: left out, ${waiting} wait already`);
        return;
      }
      waiting++;
      last = last.then(() => runHook(argv, grant)).finally(() => waiting--);
    },

    async run(name, argv, { client, address }) {
      const environment = toEnvironment({ client, address, command: name });
      const ran = await attempt(runtime, [...argv], environment, COMMAND_MS);
      if (typeof ran !== "string") {
        for (const line of printable(ran.stdout + ran.stderr)) {
          log("info", `command ${name}: ${line}`, { command: name });
        }
      }
      const failure = typeof ran === "string"
        ? ran
        : failureOf(ran, COMMAND_MS);
      if (failure) log("error", `command ${name}: ${failure}`);
      return failure === null;
    },
  };
}

async function attempt(
  runtime: Runtime,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<Ran | string> {
  try {
    return await runtime.run(argv, { env, timeoutMs });
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return `cannot run "${argv[0]}": ${error.message}`;
  }
}

function failureOf({ code, stderr }: Ran, timeoutMs: number): string | null {
  if (code === 0) return null;
  if (code === null) return `ended by a signal, or after ${timeoutMs / 1000} s`;
  const words = printable(stderr).at(-1);
  return `ended with ${code}${words ? `: ${words}` : ""}`;
}

/** Lines of a program's output that are safe in a log. */
function printable(text: string): string[] {
  const lines = text.split("\n").map((line) =>
    // deno-lint-ignore no-control-regex
    line.slice(0, MAX_COLUMNS).replace(/[\x00-\x1f\x7f-\x9f]/g, "?")
  ).filter(Boolean);
  return lines.length <= MAX_LINES ? lines : [
    ...lines.slice(0, MAX_LINES),
    `… ${lines.length - MAX_LINES} more lines`,
  ];
}
