import { expectDone, tellOpened, tellSent } from "../client/words.ts";
import { sendKnock } from "../client/send.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  askedAddress,
  askedCode,
  askedPorts,
  askedSeconds,
  namedProfile,
  SENDING,
  sendOptions,
} from "./asking.ts";
import { parseOptions, takePositionals } from "./command.ts";

export const help = `Usage:
    knock PROFILE [OPTIONS]
    knock send PROFILE [OPTIONS]

Knocks: asks the profile's server to open ports for a while.

Options:
    --open PORTS       What to open, such as tcp/22 or tcp/80,tcp/443;
                       default: the profile's, or all that the client may.
    --for DURATION     For how long, such as 90, 30s, 5m, 8h or 1d;
                       default: the profile's, or the server's.
    --from ADDRESS     For which address; "source" (the default) is where
                       the packet comes from as the server sees it.
    --no-reply         Send one packet and do not wait for the answer.
    --tries N          Packets to send until an answer comes, 1 to 10;
                       default: 3.
    --code CODE        The one-time code, where the server wants one; default:
                       the profile's own, or what is typed.
    -4, --ipv4         Knock only over IPv4.
    -6, --ipv6         Knock only over IPv6.
    -q, --quiet        Print nothing when it is open.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

Ends with 0 when it is open, and 1 when the server refused or did not answer.
Servers of openme and fwknop never answer: 0 says that the packet is sent.
On a terminal, says what is open, for whom and until when.

Example:
    $ knock home --open tcp/22 --for 1h
    open tcp/22 for 203.0.113.9 until 15:04:05
`;

/** Runs `knock send`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, {
    flags: { ...SENDING.flags, "no-reply": "", quiet: "q" },
    values: { ...SENDING.values, for: "", from: "" },
    lists: { open: "" },
  });
  const [name] = takePositionals(options, ["PROFILE"]);
  const reply = !options.flag("no-reply");
  const sending = { ...sendOptions(options), reply };
  const profile = namedProfile(runtime, options, name!);
  const ports = askedPorts(options, profile);
  const outcome = await sendKnock(runtime, profile, {
    action: "open",
    ports,
    command: null,
    seconds: askedSeconds(options, profile),
    address: askedAddress(options, profile),
    code: askedCode(runtime, options, profile),
  }, sending);
  const nowMs = runtime.nowMs();
  const answer = expectDone(profile, "open", outcome, nowMs);
  if (!options.flag("quiet") && runtime.isTerminal("out")) {
    if (answer) runtime.out(`${tellOpened(ports, answer, nowMs)}\n`);
    else if (reply) runtime.out(`${tellSent(profile)}\n`);
  }
  return 0;
}
