import { expectDone, tellOpened, tellSent } from "../client/words.ts";
import { sendKnock } from "../client/send.ts";
import { dialectOf } from "../client/profile_keys.ts";
import type { Outcome } from "../client/outcome.ts";
import type { Profile } from "../client/profile.ts";
import { connectWhenOpen, firstTcpPort, OPEN_WAIT_MS } from "../client/wait.ts";
import type { Forward } from "../dialects/dialect.ts";
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
import { formatEndpoint, parseEndpoint } from "../values/address.ts";
import { FailureError, UsageError } from "../values/errors.ts";
import type { PortRange } from "../values/ports.ts";
import { type Options, parseOptions, takePositionals } from "./command.ts";

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
    --wait             Then connect to the first TCP port until it is open;
                       ends with 1 when it is not after 10 s.
    --no-reply         Send one packet and do not wait for the answer.
    --tries N          Packets to send until an answer comes, 1 to 10;
                       default: 3.
    --transport HOW    udp, tcp or http, or with another port, http/8080;
                       default: the profile's, or udp. Over tcp and http no
                       server answers.
    --nat HOST:PORT    Have the port of --open passed on to there (fwknop).
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

/** The names of its options. */
export const optionNames = {
  flags: { ...SENDING.flags, "no-reply": "", quiet: "q", wait: "" },
  values: { ...SENDING.values, for: "", from: "", nat: "" },
  lists: { open: "" },
};

/** Runs `knock send`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, optionNames);
  const [name] = takePositionals(options, ["PROFILE"]);
  const reply = !options.flag("no-reply");
  const sending = { ...sendOptions(options), reply };
  const profile = namedProfile(runtime, options, name!);
  const ports = askedPorts(options, profile);
  const waitFor = options.flag("wait") ? needTcpPort(ports) : null;
  const outcome = await sendKnock(runtime, profile, {
    action: "open",
    ports,
    command: null,
    seconds: askedSeconds(options, profile),
    address: askedAddress(options, profile),
    code: askedCode(runtime, options, profile),
    forward: askedForward(options, profile),
  }, sending);
  const nowMs = runtime.nowMs();
  const answer = expectDone(profile, "open", outcome, nowMs);
  const reached = waitFor === null
    ? null
    : await reach(runtime, profile, outcome, waitFor);
  if (!options.flag("quiet") && runtime.isTerminal("out")) {
    if (answer) runtime.out(`${tellOpened(ports, answer, nowMs)}\n`);
    else if (reached) runtime.out(`open tcp/${waitFor} at ${reached}\n`);
    else if (reply) runtime.out(`${tellSent(profile)}\n`);
  }
  return 0;
}

/** What `--nat` says; only fwknop's packets can. */
function askedForward(options: Options, profile: Profile): Forward | null {
  const words = options.value("nat");
  if (words === undefined) return null;
  if (dialectOf(profile) !== "fwknop") {
    throw new UsageError(
      `option "--nat" is for profiles of fwknop, and "${profile.name}" is none`,
      "a service of the server says where its connections go",
    );
  }
  const target = parseEndpoint(words);
  if (target && target.port > 0) return { kind: "nat", ...target };
  throw new UsageError(`option "--nat" must be HOST:PORT, got "${words}"`);
}

function needTcpPort(ports: readonly PortRange[]): number {
  const port = firstTcpPort(ports);
  if (port !== null) return port;
  throw new UsageError(
    `option "--wait" needs to know a TCP port`,
    "name it with --open tcp/22, or in the profile",
  );
}

/** Waits until the port accepts; where it did. */
async function reach(
  runtime: Runtime,
  { server: { host } }: Profile,
  outcome: Outcome,
  port: number,
): Promise<string> {
  const addresses = outcome.kind === "answered"
    ? [outcome.from.host]
    : outcome.addresses;
  const entrance = await connectWhenOpen(runtime, { addresses, port });
  if (entrance.ok) {
    entrance.stream.close();
    return entrance.stream.peer.host;
  }
  const { why } = entrance;
  throw new FailureError(
    `${formatEndpoint({ host, port })} is not open after ${
      OPEN_WAIT_MS / 1000
    } s: ${why}`,
    "`knock log` on the server says what became of the knock",
  );
}
