/** The table of commands: dispatch and help. */

import type { Runtime } from "../runtime/runtime.ts";
import { ConfigError, OperatorError, UsageError } from "../values/errors.ts";
import { escapeUnsafe, formatJson } from "../values/text.ts";
import type { Command } from "./command.ts";

/** A line of `knock help`, and the module behind it, loaded when it is used. */
interface CommandEntry {
  readonly summary: string;
  load(): Promise<Command>;
}

/**
 * The commands of this version, in the order of `knock help`. "as string"
 * keeps Deno from reading all of them before the first one runs, a tenth of a
 * knock's time; `compile.include` in deno.json names them for `deno compile`.
 */
export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  serve: {
    summary: "run the server in the foreground",
    load: () => import("./operator/serve.ts" as string),
  },
  init: {
    summary: "write a new configuration and its key",
    load: () => import("./operator/init/init.ts" as string),
  },
  check: {
    summary: "validate a configuration",
    load: () => import("./operator/check.ts" as string),
  },
  client: {
    summary: "enrol, change, list, show and remove clients",
    load: () => import("./enrol/client.ts" as string),
  },
  page: {
    summary: "write the web page that knocks from a browser",
    load: () => import("./tools/page.ts" as string),
  },
  status: {
    summary: "show open ports, for whom, and the time left",
    load: () => import("./operator/status/status.ts" as string),
  },
  log: {
    summary: "show what was opened, and what was refused",
    load: () => import("./operator/log.ts" as string),
  },
  doctor: {
    summary: "check this machine's setup and suggest fixes",
    load: () => import("./operator/doctor/doctor.ts" as string),
  },
  convert: {
    summary: "convert another tool's configuration",
    load: () => import("./operator/convert.ts" as string),
  },
  rules: {
    summary: "print the ruleset for boot, or remove all rules",
    load: () => import("./operator/rules.ts" as string),
  },
  fleet: {
    summary: "several gateways on one engine: set up, status",
    load: () => import("./operator/fleet.ts" as string),
  },
  import: {
    summary: "store what `client add` printed",
    load: () => import("./profiles/import.ts" as string),
  },
  send: {
    summary: "knock: open ports for a limited time",
    load: () => import("./knock/send.ts" as string),
  },
  close: {
    summary: "close what this client opened",
    load: () => import("./knock/close.ts" as string),
  },
  ping: {
    summary: "check that the server answers",
    load: () => import("./knock/ping.ts" as string),
  },
  run: {
    summary: "have the server run one of its commands",
    load: () => import("./knock/run.ts" as string),
  },
  seq: {
    summary: "send a port sequence",
    load: () => import("./tools/seq.ts" as string),
  },
  exec: {
    summary: "knock, wait until open, run a command",
    load: () => import("./knock/exec.ts" as string),
  },
  proxy: {
    summary: "knock and connect, for ssh's ProxyCommand",
    load: () => import("./knock/proxy.ts" as string),
  },
  profiles: {
    summary: "list this user's profiles",
    load: () => import("./profiles/profiles.ts" as string),
  },
  decode: {
    summary: "explain a packet, and why it would be refused",
    load: () => import("./tools/decode.ts" as string),
  },
  keygen: {
    summary: "make a private key",
    load: () => import("./tools/keygen.ts" as string),
  },
  pubkey: {
    summary: "print the public key of a private one",
    load: () => import("./tools/pubkey.ts" as string),
  },
  demo: {
    summary: "show the whole job with real parts",
    load: () => import("./demo/demo.ts" as string),
  },
  completion: {
    summary: "print a completion script for your shell",
    load: () => import("./completion/completion.ts" as string),
  },
  version: {
    summary: "print the version",
    load: () => import("./tools/version.ts" as string),
  },
  help: {
    summary: "explain a command",
    load: () => import("./tools/help.ts" as string),
  },
};

/** Runs a command line, prints what went wrong, and returns the exit status. */
export async function runCommand(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  try {
    return await dispatch(args, runtime);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    if (wantsJson(args)) printJson(runtime, error);
    const lines = error instanceof ConfigError
      ? error.mistakes
      : [error.message];
    for (const line of lines) {
      runtime.err(`knock: error: ${escapeUnsafe(line)}\n`);
    }
    if (error.hint !== undefined) {
      for (const hint of error.hint.split("\n").filter(Boolean)) {
        runtime.err(`knock: hint: ${hint}\n`);
      }
    }
    return error.status;
  }
}

/** True if `--json` is among a command's own options, even if it has none such. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).includes("--json");
}

/** Prints an error on stdout; on stderr if stdout is what failed. */
function printJson(runtime: Runtime, error: OperatorError): void {
  try {
    runtime.out(errorJson(error));
  } catch (failure) {
    if (!(failure instanceof OperatorError)) throw failure;
    if (failure.message === error.message) return;
    runtime.err(`knock: error: ${failure.message}\n`);
  }
}

/** An error as one JSON object on a line: docs/json.md, "An error". */
function errorJson(error: OperatorError): string {
  const { message, hint, status, facts } = error;
  const told = {
    ok: false,
    ...facts,
    error: message,
    ...error instanceof ConfigError && { mistakes: error.mistakes },
    hints: hint?.split("\n") ?? [],
    exit_status: status,
  };
  return `${formatJson(told)}\n`;
}

async function dispatch(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined) {
    runtime.err((await COMMANDS.help!.load()).help);
    return 2;
  }
  if (first === "--help" || first === "-h") {
    return (await COMMANDS.help!.load()).run(rest, runtime);
  }
  if (first === "--version" || first === "-V") {
    return (await COMMANDS.version!.load()).run(rest, runtime);
  }
  const entry = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  if (entry) {
    const command = await entry.load();
    const end = rest.indexOf("--");
    const own = end < 0 ? rest : rest.slice(0, end);
    if (own.includes("--help") || own.includes("-h")) {
      runtime.out(command.help);
      return 0;
    }
    return command.run(rest, runtime);
  }
  // knockd's own client's command line: `knock HOST PORT[:udp] ...`.
  if (rest.some((one) => /^-?\d/.test(one))) {
    const dropIn = await import("./tools/seq.ts" as string);
    if (dropIn.isDropIn(args)) return await dropIn.runDropIn(args, runtime);
  }
  const slips = () => import("./profiles/slips.ts" as string);
  if (first.startsWith("-")) throw (await slips()).explainOption(args);
  // A word that is no command is a profile to knock with.
  try {
    return await (await COMMANDS.send!.load()).run([...args], runtime);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw (await slips()).explainSlip(args, error);
  }
}
