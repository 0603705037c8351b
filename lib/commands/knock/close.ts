import { tellClosed } from "../../client/knock/outcome.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { askedPorts, askedServer, order, SENDING } from "./asking.ts";

export const help = `Usage:
    knock close PROFILE [OPTIONS]

Asks the profile's server to close, at once, what it opened for this client.

Options:
    --open PORT,...    What to close, such as tcp/22; default: the profile's,
                       or all that is open for this client.
    --from ADDRESS     Address to close for; "source" (the default): the
                       packet's source, as the server sees it.
    --no-reply         Send one packet and do not wait for a reply.
    --json             Print one JSON object, also when it fails.
    -q, --quiet        Print nothing on success.
${SENDING}

Example:
    $ knock close home
    closed 2 ports for 203.0.113.9
`;

/** Runs `knock close`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [name] = takePositionals(options, ["PROFILE"]);
  const asked = askedServer(runtime, options, name!);
  const ports = askedPorts(options, asked.profile);
  const request = { action: "close", ports, command: null } as const;
  const answer = await order(runtime, options, asked, request);
  if (answer) runtime.out(`${tellClosed(ports, answer)}\n`);
  return 0;
}
