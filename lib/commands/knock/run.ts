import { MAX_COMMAND_SIZE } from "../../dialects/knock1/items.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { UsageError } from "../../values/errors.ts";
import { parseOptions, readDuration, takePositionals } from "../command.ts";
import { askedServer, order, SENDING } from "./asking.ts";

/** Longer than the server lets a command run. */
const PATIENCE_SECONDS = 65;

export const help = `Usage:
    knock run PROFILE COMMAND [OPTIONS]

Runs a command on the profile's server, and waits until it exits. COMMAND is its
name in the server's configuration.

Options:
    --timeout DURATION
                       How long to wait for it; default: ${PATIENCE_SECONDS}s, which is
                       longer than a command may run.
    --from ADDRESS     The address that the command gets; "source" (the
                       default) is where the packet comes from as the server
                       sees it.
    --no-reply         Send one packet and do not wait for the answer.
    --json             Print one JSON object, also when it fails.
    -q, --quiet        Print nothing on success.
${SENDING}

The command runs once, however often the packet is sent. Exits with 0 if it
succeeded, and with 1 if it failed, or the server refused or did not reply. Its
output is in the server's log.

Example:
    $ knock run home restart-web
    restart-web: done
`;

/** Runs `knock run`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [name, command] = takePositionals(options, ["PROFILE", "COMMAND"]);
  const size = new TextEncoder().encode(command).length;
  if (size < 1 || size > MAX_COMMAND_SIZE) {
    throw new UsageError(
      `COMMAND must be 1 to ${MAX_COMMAND_SIZE} bytes, got ${size} of them`,
    );
  }
  const patience = readDuration(options, "timeout", 1) ?? PATIENCE_SECONDS;
  const { profile, sending } = askedServer(runtime, options, name!);
  const patient = { ...sending, patienceMs: patience * 1000 };
  const asked = { profile, sending: patient };
  const request = { action: "run", ports: [], command: command! } as const;
  const answer = await order(runtime, options, asked, request);
  if (answer) runtime.out(`${command}: done\n`);
  return 0;
}
