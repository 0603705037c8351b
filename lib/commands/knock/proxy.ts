import { connectThrough, targetAddress } from "../../client/open/proxy.ts";
import { dialectOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { relay } from "../../runtime/sockets/relay.ts";
import { onePort, type PortRange } from "../../values/ports.ts";
import { parseOptions, readPort, takePositionals } from "../command.ts";
import { askedOpening, askedServer, SENDING } from "./asking.ts";

export const help = `Usage:
    knock proxy PROFILE HOST PORT [OPTIONS]

Knocks, and carries standard input and output to a TCP port of the profile's
server: for ssh's ProxyCommand, and for whatever else can use one.

HOST must be the profile's server, by its name or an address of it.

Options:
    --for DURATION     For how long to open; default: the profile's, or the
                       server's. What is connected goes on after that.
    --from ADDRESS     For which address; see \`knock help send\`.
    --both             Open for both families, IPv4 and IPv6.
${SENDING}

What was granted is remembered until shortly before its end, so that further
connections need no knock, and several at once need one; "remember: false" in
the profile turns that off.

Example, in ~/.ssh/config:
    Host home.example.org
        ProxyCommand knock proxy home %h %p
`;

/** Runs `knock proxy`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const positionals = takePositionals(options, ["PROFILE", "HOST", "PORT"]);
  const [name, host, words] = positionals as [string, string, string];
  const port = readPort("PORT", words);
  const asked = askedServer(runtime, options, name);
  const { profile } = asked;
  const address = await targetAddress(runtime, profile, host);
  // openme has no word for a port: it opens what the server knows.
  const ports: PortRange[] = dialectOf(profile) === "openme"
    ? []
    : [onePort("tcp", port)];
  const { wish, knocking } = askedOpening(runtime, options, asked, ports);
  const target = { port, address };
  const there = await connectThrough(runtime, profile, wish, knocking, target);
  await relay(runtime.standard(), there);
  return 0;
}
