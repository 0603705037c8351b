import { sendKnock } from "../client/send.ts";
import { expectDone, formatMs, tellClock } from "../client/words.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatEndpoint } from "../values/address.ts";
import { askedCode, namedProfile, SENDING, sendOptions } from "./asking.ts";
import { parseOptions, takePositionals } from "./command.ts";

export const help = `Usage:
    knock ping PROFILE [OPTIONS]

Asks whether the profile's server answers this client. Opens nothing.

Options:
    --tries N          Packets to send until an answer comes, 1 to 10;
                       default: 3.
    --transport HOW    udp, tcp or http, or with another port, http/8080;
                       default: the profile's, or udp.
    --code CODE        The one-time code, where the server wants one; default:
                       the profile's own, or what is typed.
    -4, --ipv4         Ask only over IPv4.
    -6, --ipv6         Ask only over IPv6.
    --profiles FILE    The file of profiles; or set KNOCK_PROFILES.

Prints how long the answer took, and how the clocks differ when it is by more
than a second. Ends with 1 when no answer came.

Example:
    $ knock ping home
    home answers from 198.51.100.7:62201 in 12 ms, and sees 203.0.113.9
`;

/** The names of its options. */
export const optionNames = SENDING;

/** Runs `knock ping`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const [name] = takePositionals(options, ["PROFILE"]);
  const sending = sendOptions(options);
  const profile = namedProfile(runtime, options, name!);
  const outcome = await sendKnock(runtime, profile, {
    action: "ping",
    ports: [],
    command: null,
    seconds: 0,
    address: null,
    code: askedCode(runtime, options, profile),
  }, sending);
  expectDone(profile, "ping", outcome, runtime.nowMs());
  if (outcome.kind !== "answered") return 1;
  const { answer, from, roundTripMs, clockAheadMs } = outcome;
  runtime.out(
    `${profile.name} answers from ${formatEndpoint(from)} ` +
      `in ${formatMs(roundTripMs)}, and sees ${answer.address}\n`,
  );
  const clock = tellClock(clockAheadMs);
  if (clock) runtime.out(`${clock}\n`);
  return 0;
}
