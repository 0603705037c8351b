import { reach } from "../../client/open/opening.ts";
import type { Ran, Runtime, SignalName } from "../../runtime/runtime.ts";
import { failing, UsageError } from "../../values/errors.ts";
import { firstTcpPort } from "../../values/ports.ts";
import { parseOptions, takePositionals } from "../command.ts";
import {
  askedOpening,
  askedPorts,
  askedServer,
  knockDone,
  SENDING,
} from "./asking.ts";
import { withProgress } from "./progress.ts";

export const help = `Usage:
    knock exec PROFILE [OPTIONS] -- COMMAND...

Knocks, waits until the port is open, and runs a command with this terminal.

Options:
    --open PORT,...    What to open, such as tcp/22; default: the profile's, or
                       all that the client may. knock waits for the first TCP
                       port, at most 10 s; if none is named, the server's
                       reply is enough.
    --for DURATION     For how long; default: the profile's, or the server's.
    --from ADDRESS     Address to open for; see \`knock help send\`.
    --both             Open for both families, IPv4 and IPv6.
    -q, --quiet        Show no progress.
${SENDING}

Exits with the command's status, or 128 and the number of the signal that ended
it; with 1 if the port is not open or the command cannot be run. Signals are
passed on to the command.

Example:
    $ knock exec home -- rsync -a photos/ home.example.org:photos/
`;

const FORWARDED: readonly SignalName[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** As shells count the end by a signal. */
const SIGNALLED = 128;

/** Runs `knock exec`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const { own, command } = splitCommand(args);
  const options = parseOptions(own, help);
  const [name] = takePositionals(options, ["PROFILE"]);
  if (command.length === 0) {
    throw new UsageError(
      "COMMAND is missing",
      `knock exec ${name} -- COMMAND...`,
    );
  }
  const asked = askedServer(runtime, options, name!);
  const ports = askedPorts(options, asked.profile);
  const opening = askedOpening(runtime, options, asked, ports);
  const port = firstTcpPort(ports);
  const text = `opening ${asked.profile.name}`;
  await withProgress(runtime, text, options.flag("quiet"), async () => {
    const done = await knockDone(runtime, opening);
    if (port !== null) await reach(runtime, done, port);
  });
  const { code, signal } = await runCommand(runtime, command);
  return code ?? SIGNALLED + (signal ?? 0);
}

/** Splits arguments at the first `--`. */
function splitCommand(args: readonly string[]) {
  const at = args.indexOf("--");
  if (at >= 0) return { own: args.slice(0, at), command: args.slice(at + 1) };
  // A slip in an option is the nearer cause.
  const { positionals } = parseOptions(args, help, { stopEarly: true });
  const [name = "PROFILE", ...command] = positionals;
  throw new UsageError(
    'the command must come behind "--"',
    `knock exec ${name} -- ${command.join(" ") || "COMMAND..."}`,
  );
}

async function runCommand(
  runtime: Runtime,
  command: readonly string[],
): Promise<Ran> {
  let pid: number | null = null;
  const signals = FORWARDED.map((name) =>
    runtime.onSignal(name, () => {
      // What is typed on a terminal reaches all of its programs at once.
      const typed = name === "SIGINT" && runtime.isTerminal("in");
      if (pid !== null && !typed) runtime.signalProcess(pid, name);
    })
  );
  try {
    const started = (id: number) => void (pid = id);
    return await failing(
      `cannot run "${command[0]}"`,
      () => runtime.run(command, { inherit: true, started }),
    );
  } finally {
    for (const signal of signals) signal.stop();
  }
}
