/** The table of commands, and dispatch. */

import type { Runtime } from "../runtime/runtime.ts";
import type { CommandName } from "../values/program.ts";
import {
  caught,
  ConfigError,
  OperatorError,
  UsageError,
} from "../values/errors.ts";
import { escapeUnsafe, formatJson } from "../values/text.ts";
import type { Commands } from "./command.ts";

/**
 * The modules of the commands, loaded when they are used. "as string" keeps
 * Deno from reading all of them before the first one runs, a tenth of a knock's
 * time; `compile.include` in deno.json names them for `deno compile`.
 */
export const COMMANDS: Commands = {
  serve: () => import("./operator/serve.ts" as string),
  init: () => import("./operator/init/init.ts" as string),
  check: () => import("./operator/check.ts" as string),
  client: () => import("./enrol/client.ts" as string),
  page: () => import("./tools/page.ts" as string),
  status: () => import("./operator/status/status.ts" as string),
  log: () => import("./operator/log.ts" as string),
  doctor: () => import("./operator/doctor/doctor.ts" as string),
  convert: () => import("./operator/convert.ts" as string),
  rules: () => import("./operator/rules.ts" as string),
  fleet: () => import("./operator/fleet.ts" as string),
  import: () => import("./profiles/import.ts" as string),
  send: () => import("./knock/send.ts" as string),
  close: () => import("./knock/close.ts" as string),
  ping: () => import("./knock/ping.ts" as string),
  run: () => import("./knock/run.ts" as string),
  seq: () => import("./tools/seq.ts" as string),
  exec: () => import("./knock/exec.ts" as string),
  proxy: () => import("./knock/proxy.ts" as string),
  profiles: () => import("./profiles/profiles.ts" as string),
  decode: () => import("./tools/decode.ts" as string),
  keygen: () => import("./tools/keygen.ts" as string),
  pubkey: () => import("./tools/pubkey.ts" as string),
  demo: () => import("./demo/demo.ts" as string),
  completion: () => import("./completion/completion.ts" as string),
  version: () => import("./tools/version.ts" as string),
  help: () => import("./tools/help.ts" as string),
};

/** Runs a command line, prints what went wrong, and returns the exit status. */
export async function runCommand(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  return await caught(OperatorError, () => dispatch(args, runtime), (error) => {
    // Even if the command has no such option.
    if (ownArguments(args).includes("--json")) printJson(runtime, error);
    for (const line of error.lines) {
      runtime.err(`knock: error: ${escapeUnsafe(line)}\n`);
    }
    for (const hint of error.hint?.split("\n").filter(Boolean) ?? []) {
      runtime.err(`knock: hint: ${hint}\n`);
    }
    return error.status;
  });
}

/** Arguments of a command's own: what stands behind "--" is another program's. */
function ownArguments(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end < 0 ? args : args.slice(0, end);
}

/** Prints an error on stdout, one JSON object on a line: docs/json.md, "An error". */
function printJson(runtime: Runtime, error: OperatorError): void {
  const { message, hint, status, facts } = error;
  const told = {
    ok: false,
    ...facts,
    error: message,
    ...error instanceof ConfigError && { mistakes: error.lines },
    hints: hint?.split("\n") ?? [],
    exit_status: status,
  };
  const print = () => runtime.out(`${formatJson(told)}\n`);
  caught(OperatorError, print, (failure) => {
    // Stdout is what failed.
    if (failure.message === message) return;
    runtime.err(`knock: error: ${failure.message}\n`);
  });
}

async function dispatch(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined) {
    runtime.err((await COMMANDS.help()).help);
    return 2;
  }
  if (first === "--help" || first === "-h") {
    return (await COMMANDS.help()).run(rest, runtime, COMMANDS);
  }
  if (first === "--version" || first === "-V") {
    return (await COMMANDS.version()).run(rest, runtime, COMMANDS);
  }
  if (Object.hasOwn(COMMANDS, first)) {
    const command = await COMMANDS[first as CommandName]();
    const own = ownArguments(rest);
    if (own.includes("--help") || own.includes("-h")) {
      runtime.out(command.help);
      return 0;
    }
    return command.run(rest, runtime, COMMANDS);
  }
  // knockd's own client's command line: `knock HOST PORT[:udp] ...`.
  if (rest.some((one) => /^-?\d/.test(one))) {
    const { runDropIn } = await import("./tools/seq.ts" as string);
    const status = await runDropIn(args, runtime);
    if (status !== null) return status;
  }
  const slips = () => import("./profiles/slips.ts" as string);
  if (first.startsWith("-")) throw (await slips()).explainOption(args);
  // A word that is no command is a profile to knock with.
  try {
    return await (await COMMANDS.send()).run([...args], runtime, COMMANDS);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw (await slips()).explainSlip(args, error);
  }
}
