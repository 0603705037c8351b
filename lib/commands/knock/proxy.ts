import { connectThrough, targetAddress } from "../../client/open/proxy.ts";
import { dialectOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { relay } from "../../runtime/sockets/relay.ts";
import { onePort, type PortRange } from "../../values/ports.ts";
import { parseOptions, readPort, takePositionals } from "../command.ts";
import { askedOpening, askedServer, SENDING } from "./asking.ts";

export const help = `Usage:
    knock proxy PROFILE HOST PORT [OPTIONS]

Knocks, and connects stdin and stdout to a TCP port of the profile's server:
for ssh's ProxyCommand, and for other programs that can use one.

HOST must be the profile's server, by its name or one of its addresses.

Options:
    --for DURATION     For how long to open; default: the profile's, or the
                       server's. Established connections stay after that.
    --from ADDRESS     Address to open for; see \`knock help send\`.
    --both             Open for both families, IPv4 and IPv6.
${SENDING}

The client remembers a grant until shortly before it expires: further
connections need no knock, and concurrent ones share one. "remember: false" in
the profile turns this off.

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
  const { request, knocking } = askedOpening(runtime, options, asked, ports);
  const target = { port, address };
  const there = await connectThrough(
    runtime,
    profile,
    request,
    knocking,
    target,
  );
  await relay(await runtime.standard(), there);
  return 0;
}
