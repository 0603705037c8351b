import {
  knock,
  type KnockOptions,
  type UnaddressedRequest,
} from "../../client/knock/knock.ts";
import {
  answerFacts,
  expectDone,
  outcomeFacts,
  tellOpened,
  tellSent,
} from "../../client/knock/outcome.ts";
import type { Profile } from "../../client/profile/profile.ts";
import type { Answer, Forward } from "../../dialects/dialect.ts";
import { dialectOf } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { parseEndpoint } from "../../values/address.ts";
import { OperatorError, UsageError } from "../../values/errors.ts";
import { firstTcpPort, type PortRange } from "../../values/ports.ts";
import { type Options, parseOptions, takePositionals } from "../command.ts";
import {
  askedOpening,
  askedPorts,
  askedServer,
  type OutputForm,
  printFacts,
  SENDING,
} from "./asking.ts";
import { withProgress } from "./progress.ts";

export const help = `Usage:
    knock PROFILE [OPTIONS]
    knock send PROFILE [OPTIONS]

Knocks: asks the profile's server to open ports for a limited time.

Options:
    --open PORT,...    What to open, such as tcp/22 or tcp/80,tcp/443;
                       default: the profile's, or all that the client may.
    --for DURATION     For how long, such as 90, 30s, 5m, 8h or 1d;
                       default: the profile's, or the server's.
    --from ADDRESS     Address to open for. "source" (the default): the packet's
                       source, as the server sees it; "resolve": ask the
                       services under resolve in profiles.yaml.
    --both             Open for IPv4 and IPv6, and wait for both replies.
                       Without it, knock sends a packet over each family and
                       takes the first reply; a grant for one family does not
                       apply to the other.
    --wait             Then connect to the first TCP port until it is open; exit
                       with 1 if it is not after 10 s.
    --keep             Keep it open: knock again before each grant expires and
                       when this machine's addresses change, until Ctrl-C;
                       then exit with 0.
    --close            With --keep: close when stopped.
    --no-reply         Send one packet and do not wait for a reply.
    --nat HOST:PORT    Forward the port of --open to this target (fwknop).
    --json             Print one JSON object, also when it fails.
    -q, --quiet        Print nothing on success.
${SENDING}

Exits with 0 if the ports are open, and with 1 if the server refused or did not
reply. Servers of openme and fwknop never reply: 0 means that the packet was
sent. On a terminal, prints what is open, for whom and until when.

Example:
    $ knock home --open tcp/22 --for 1h
    open tcp/22 for 203.0.113.9 until 15:04:05
`;

/** Runs `knock send`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [name] = takePositionals(options, ["PROFILE"]);
  const asked = askedServer(runtime, options, name!);
  const { profile } = asked;
  const ports = askedPorts(options, profile);
  const waitFor = options.flag("wait") ? needTcpPort(ports) : null;
  const forward = readForward(options, profile);
  const opening = askedOpening(runtime, options, asked, ports);
  const request = { ...opening.request, forward };
  const { knocking } = opening;
  const telling = {
    quiet: options.flag("quiet"),
    json: options.flag("json"),
    reply: !options.flag("no-reply"),
  };
  const once = (again = false) => {
    // A renewal is not reported.
    const silent = { ...telling, quiet: telling.quiet || again };
    const how = { request, knocking, waitFor, telling: silent };
    return open(runtime, profile, how);
  };
  if (!options.flag("keep")) {
    if (options.flag("close")) {
      throw new UsageError(
        "--close goes with --keep",
        `\`knock close ${profile.name}\` closes at once`,
      );
    }
    await once();
    return 0;
  }
  const { keep } = await import("./keep.ts");
  return await keep(runtime, profile, request, once, {
    ...telling,
    close: options.flag("close") ? knocking : null,
  });
}

interface Opening {
  readonly request: UnaddressedRequest;
  readonly knocking: KnockOptions;
  /** The TCP port to wait for; null: none. */
  readonly waitFor: number | null;
  readonly telling: OutputForm;
}

/** Opens once and reports it; null where no server answers. */
async function open(
  runtime: Runtime,
  profile: Profile,
  { request, knocking, waitFor, telling }: Opening,
): Promise<Answer | null> {
  const { quiet, json, reply } = telling;
  const text = `knocking at ${profile.name}`;
  const silent = quiet || !reply && waitFor === null;
  const opened = await withProgress(runtime, text, silent, async (show) => {
    const knocked = await knock(runtime, profile, request, knocking);
    const nowMs = runtime.nowMs();
    const { outcome } = knocked;
    const answer = expectDone(profile, request, outcome, nowMs);
    const { also, without } = knocked;
    const facts = {
      ...outcomeFacts(profile, request, outcome, nowMs),
      ...also && { also: answerFacts(request, also.answer, nowMs) },
      ...without !== null && { without },
    };
    if (waitFor === null) return { knocked, answer, nowMs, facts };
    show(`waiting for tcp/${waitFor} of ${profile.name}`);
    const { reach } = await import("../../client/open/opening.ts");
    const [port, wait] = [waitFor, { profile, request, knocking, knocked }];
    try {
      const reached = await reach(runtime, wait, port);
      return { knocked, answer, nowMs, facts, reached };
    } catch (error) {
      if (error instanceof OperatorError) {
        error.facts = { ...facts, status: "not_open" };
      }
      throw error;
    }
  });
  const { knocked: { also, without }, answer, nowMs, facts, reached } = opened;
  if (json) printFacts(runtime, facts);
  if (quiet) return answer;
  if (without !== null) runtime.err(`knock: not for both: ${without}\n`);
  if (json || !runtime.isTerminal("out")) return answer;
  if (answer) runtime.out(`${tellOpened(request, answer, nowMs)}\n`);
  else if (reached) runtime.out(`open tcp/${waitFor} at ${reached}\n`);
  else if (reply) runtime.out(`${tellSent(profile)}\n`);
  if (also) runtime.out(`${tellOpened(request, also.answer, nowMs)}\n`);
  return answer;
}

/** Reads `--nat`, which only fwknop's packets carry. */
function readForward(options: Options, profile: Profile): Forward | null {
  const words = options.value("nat");
  if (words === undefined) return null;
  if (dialectOf(profile) !== "fwknop") {
    throw new UsageError(
      `--nat is for profiles of fwknop, and "${profile.name}" is none`,
      "a service of the server says where its connections go",
    );
  }
  const target = parseEndpoint(words);
  if (target && target.port > 0) return { kind: "nat", ...target };
  throw new UsageError(`--nat must be HOST:PORT, got "${words}"`);
}

function needTcpPort(ports: readonly PortRange[]): number {
  const port = firstTcpPort(ports);
  if (port !== null) return port;
  throw new UsageError(
    `--wait needs to know a TCP port`,
    "name it with --open tcp/22, or in the profile",
  );
}
