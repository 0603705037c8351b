import type { Argv, Grant } from "../firewall/firewall.ts";
import { runForGrant, runProgram } from "../firewall/command/programs.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Log } from "./report/log.ts";
import type { Counters } from "./report/counters.ts";

const HOOK_MS = 10_000;
const COMMAND_MS = 60_000;
/** Hooks that may wait for their turn; more are left out, and that is logged. */
const MAX_WAITING = 1000;
/** Commands that may run at a time; more fail. */
const MAX_COMMANDS = 16;
/** Most lines of a command's output that are logged. */
const MAX_LINES = 100;

export interface Runner {
  /** Runs a hook for a grant, after those before it; returns at once. */
  hook(argv: Argv | null, grant: Grant): void;
  /** Runs a named command for a client or a sequence, its output to the log; whether it ended with 0. */
  run(
    name: string,
    argv: Argv,
    by: Pick<Grant, "client" | "address">,
  ): Promise<boolean>;
}

/** Makes a runner. Hooks run one after the other, commands by themselves. */
export function createRunner(
  runtime: Runtime,
  log: Log,
  counters?: Pick<Counters, "add">,
): Runner {
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  let running = 0;

  async function runHook(argv: Argv, grant: Grant): Promise<void> {
    const nowMs = runtime.nowMs();
    const { failure } = await runForGrant(runtime, argv, grant, nowMs, HOOK_MS);
    if (failure !== null) log("error", `hook ${argv[0]}: ${failure}`);
  }

  return {
    hook(argv, grant) {
      if (!argv) return;
      if (waiting >= MAX_WAITING) {
        counters?.add("left out: hook");
        log("error", `hook ${argv[0]}: left out, ${waiting} wait already`);
        return;
      }
      waiting++;
      last = last.then(() => runHook(argv, grant)).finally(() => waiting--);
    },

    async run(name, argv, { client, address }) {
      if (running >= MAX_COMMANDS) {
        counters?.add("left out: busy");
        log("error", `command ${name}: left out, ${running} run already`);
        return false;
      }
      running++;
      try {
        const values = { client, address, command: name };
        const { failure, lines } = await runProgram(
          runtime,
          argv,
          values,
          COMMAND_MS,
        );
        const say = (words: string) =>
          log("info", `command ${name}: ${words}`, { command: name });
        for (const line of lines.slice(0, MAX_LINES)) say(line);
        if (lines.length > MAX_LINES) {
          say(`… ${lines.length - MAX_LINES} more lines`);
        }
        if (failure !== null) log("error", `command ${name}: ${failure}`);
        return failure === null;
      } finally {
        running--;
      }
    },
  };
}
