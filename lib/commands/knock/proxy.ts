import { connectThrough, targetAddress } from "../../client/open/proxy.ts";
import { dialectOf } from "../../dialects/knock1/keys.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { relay } from "../../runtime/sockets/relay.ts";
import { UsageError } from "../../values/errors.ts";
import type { PortRange } from "../../values/ports.ts";
import { parseOptions, takePositionals } from "../command.ts";
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
    --tries N          Packets to send until an answer comes, 1 to 10;
                       default: 3.
    --transport HOW    udp, tcp or http, or with another port, http/8080.
    --code CODE        The one-time code, where the server wants one.
    -4, --ipv4         Knock only over IPv4.
    -6, --ipv6         Knock only over IPv6.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

What was granted is remembered until shortly before its end, so that further
connections need no knock, and several at once need one; "remember: false" in
the profile turns that off.

Example, in ~/.ssh/config:
    Host home.example.org
        ProxyCommand knock proxy home %h %p
`;

/** The names of its options. */
export const optionNames = {
  flags: { ...SENDING.flags, both: "" },
  values: { ...SENDING.values, for: "", from: "" },
};

/** Runs `knock proxy`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const positionals = takePositionals(options, ["PROFILE", "HOST", "PORT"]);
  const [name, host, words] = positionals as [string, string, string];
  const port = readPort(words);
  const asked = askedServer(runtime, options, name);
  const { profile } = asked;
  const address = await targetAddress(runtime, profile, host);
  // openme has no word for a port: it opens what the server knows.
  const ports: PortRange[] = dialectOf(profile) === "openme"
    ? []
    : [{ protocol: "tcp", first: port, last: port }];
  const { wish, knocking } = askedOpening(runtime, options, asked, ports);
  const target = { port, address };
  const there = await connectThrough(runtime, profile, wish, knocking, target);
  await relay(runtime.standard(), there);
  return 0;
}

function readPort(words: string): number {
  const port = /^\d{1,5}$/.test(words) ? Number(words) : 0;
  if (port >= 1 && port <= 65535) return port;
  throw new UsageError(`PORT must be 1 to 65535, got "${words}"`);
}
