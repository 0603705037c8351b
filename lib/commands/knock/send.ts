/** `knock send`: opens once, or with `--keep` until it is stopped. */

import { tellOpened, tellSent } from "../../client/knock/outcome.ts";
import type { Profile } from "../../client/profile/profile.ts";
import type { Answer, Forward } from "../../dialects/dialect.ts";
import { dialectOf, DIALECTS } from "../../dialects/table.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { parseEndpoint } from "../../values/address.ts";
import { OperatorError, UsageError } from "../../values/errors.ts";
import { firstTcpPort, type PortRange } from "../../values/ports.ts";
import { formatLocal } from "../../values/time.ts";
import {
  type Options,
  parseOptions,
  takePositionals,
  untilStopped,
} from "../command.ts";
import {
  type Asked,
  askedOpening,
  askedPorts,
  askedServer,
  knockDone,
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
  const server = askedServer(runtime, options, name!);
  const { profile } = server;
  const ports = askedPorts(options, profile);
  const waitFor = options.flag("wait") ? needTcpPort(ports) : null;
  const forward = readForward(options, profile);
  const opening = askedOpening(runtime, options, server, ports);
  const asked = { ...opening, request: { ...opening.request, forward } };
  const manner = {
    quiet: options.flag("quiet"),
    json: options.flag("json"),
    reply: !options.flag("no-reply"),
    waitFor,
  };
  const close = options.flag("close");
  if (options.flag("keep")) await keep(runtime, asked, manner, close);
  else if (!close) await open(runtime, asked, manner);
  else {
    throw new UsageError(
      "--close goes with --keep",
      `\`knock close ${profile.name}\` closes at once`,
    );
  }
  return 0;
}

/** Form of the output, and what is waited for. */
interface Manner {
  readonly quiet: boolean;
  readonly json: boolean;
  /** True if a reply is wanted. */
  readonly reply: boolean;
  /** The TCP port to wait for; null: none. */
  readonly waitFor: number | null;
}

/** Opens once and reports it; null where no server answers. */
async function open(
  runtime: Runtime,
  asked: Asked,
  { quiet, json, reply, waitFor }: Manner,
): Promise<Answer | null> {
  const { profile, request } = asked;
  const text = `knocking at ${profile.name}`;
  const silent = quiet || !reply && waitFor === null;
  const opened = await withProgress(runtime, text, silent, async (show) => {
    const done = await knockDone(runtime, asked);
    if (waitFor === null) return done;
    show(`waiting for tcp/${waitFor} of ${profile.name}`);
    const { reach } = await import("../../client/open/opening.ts");
    try {
      return { ...done, reached: await reach(runtime, done, waitFor) };
    } catch (error) {
      if (error instanceof OperatorError) {
        error.facts = { ...done.facts, status: "not_open" };
      }
      throw error;
    }
  });
  const { knocked: { also, without }, answer, nowMs, facts } = opened;
  if (json) printFacts(runtime, facts);
  if (quiet) return answer;
  if (without !== null) runtime.err(`knock: not for both: ${without}\n`);
  if (json || !runtime.isTerminal("out")) return answer;
  if (answer) runtime.out(`${tellOpened(request, answer, nowMs)}\n`);
  else if ("reached" in opened) {
    runtime.out(`open tcp/${waitFor} at ${opened.reached}\n`);
  } else if (reply) runtime.out(`${tellSent(profile)}\n`);
  if (also) runtime.out(`${tellOpened(request, also.answer, nowMs)}\n`);
  return answer;
}

/** Keeps open what a knock opens, until SIGINT or SIGTERM; then closes it if that is wanted. */
async function keep(
  runtime: Runtime,
  asked: Asked,
  manner: Manner,
  close: boolean,
): Promise<void> {
  const { profile, request, knocking } = asked;
  checkKeeping(asked, manner.reply);
  const { keepOpen } = await import("../../client/open/keep.ts");
  let trouble: string | null = null;
  let again = false;
  const text = `keeping ${profile.name} open`;
  await withProgress(runtime, text, manner.quiet, (show) => {
    const keeping = {
      knock: () => {
        // A renewal is not reported.
        const quiet = manner.quiet || again;
        again = true;
        return open(runtime, asked, { ...manner, quiet });
      },
      seconds: request.seconds,
      opened: (_: unknown, untilMs: number) => {
        const until = formatLocal(untilMs, runtime.nowMs());
        show(`${text}, now until ${until},`);
        if (trouble !== null) runtime.err("knock: open again\n");
        trouble = null;
      },
      failed: ({ message }: OperatorError) => {
        // The same failure is reported once.
        if (message === trouble) return;
        trouble = message;
        runtime.err(`knock: trying again: ${message}\n`);
      },
    };
    return untilStopped(runtime, (stop) => keepOpen(runtime, keeping, stop));
  });
  if (!close) return;
  await knockDone(runtime, {
    profile,
    request: { ...request, action: "close", seconds: 0 },
    knocking: { ...knocking, mayGuess: false },
  });
}

function checkKeeping(
  { profile, request: { seconds, code } }: Asked,
  reply: boolean,
): void {
  if (code !== null) {
    throw new UsageError(
      "--keep cannot go with a one-time code that is typed: each is good once",
      "store the secret in the profile, or open for longer with --for",
    );
  }
  const answers = DIALECTS[dialectOf(profile)].answers &&
    profile.transport.kind === "udp";
  if (seconds === 0 && !(reply && answers)) {
    throw new UsageError(
      "--keep must know for how long it is open, and no answer says it",
      "say it with --for DURATION",
    );
  }
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
