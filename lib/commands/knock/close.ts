import { tellClosed } from "../../client/knock/outcome.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { askedPorts, askedServer, order, SENDING } from "./asking.ts";

export const help = `Usage:
    knock close PROFILE [OPTIONS]

Asks the profile's server to close again, at once, what it opened.

Options:
    --open PORTS       What to close, such as tcp/22; default: the profile's,
                       or all that is open for this client.
    --from ADDRESS     For which address; "source" (the default) is where
                       the packet comes from as the server sees it.
    --no-reply         Send one packet and do not wait for the answer.
    --tries N          Packets to send until an answer comes, 1 to 10;
                       default: 3.
    --transport HOW    udp, tcp or http, or with another port, http/8080;
                       default: the profile's, or udp.
    --code CODE        The one-time code, where the server wants one; default:
                       the profile's own, or what is typed.
    -4, --ipv4         Knock only over IPv4.
    -6, --ipv6         Knock only over IPv6.
    -q, --quiet        Print nothing when it is closed.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

Example:
    $ knock close home
    closed 2 ports for 203.0.113.9
`;

/** The names of its options. */
export const optionNames = {
  flags: { ...SENDING.flags, "no-reply": "", quiet: "q" },
  values: { ...SENDING.values, from: "" },
  lists: { open: "" },
};

/** Runs `knock close`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const [name] = takePositionals(options, ["PROFILE"]);
  const asked = askedServer(runtime, options, name!);
  const ports = askedPorts(options, asked.profile);
  const wish = { action: "close", ports, command: null } as const;
  const answer = await order(runtime, options, asked, wish);
  if (answer) runtime.out(`${tellClosed(ports, answer)}\n`);
  return 0;
}
