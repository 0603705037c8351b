import { formatMs, tellClock } from "../../client/knock/outcome.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint } from "../../values/address.ts";
import { FailureError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import { parseOptions, takePositionals } from "../command.ts";
import {
  askedCode,
  askedServer,
  knockDone,
  printFacts,
  SENDING,
} from "./asking.ts";
import { withProgress } from "./progress.ts";

export const help = `Usage:
    knock ping PROFILE [OPTIONS]

Checks that the profile's server replies to this client. Opens nothing.

Options:
    --json             Print one JSON object, also when it fails.
    -q, --quiet        Print nothing on success.
${SENDING}

Prints the time of the reply, and the difference of the clocks if it is more
than a second. Exits with 1 if there was no reply.

Example:
    $ knock ping home
    home answers from 198.51.100.7:62201 in 12 ms, and sees 203.0.113.9
`;

/** Runs `knock ping`, and returns the exit status. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  const [name] = takePositionals(options, ["PROFILE"]);
  const { profile, sending } = askedServer(runtime, options, name!);
  const request = {
    action: "ping",
    ports: [],
    command: null,
    seconds: 0,
    code: askedCode(runtime, options, profile),
  } as const;
  const knocking = { ...sending, from: "source", mayGuess: false } as const;
  const { knocked: { outcome }, facts } = await withProgress(
    runtime,
    `asking ${profile.name}`,
    options.flag("quiet"),
    () => knockDone(runtime, { profile, request, knocking }),
  );
  if (outcome.kind !== "answered") {
    throw new FailureError(
      `profile "${profile.name}" is for a server that never answers`,
      "`knock send` sends a packet",
    );
  }
  if (options.flag("json")) {
    printFacts(runtime, facts);
    return 0;
  }
  if (options.flag("quiet")) return 0;
  const { answer, from, roundTripMs, clockAheadMs } = outcome;
  runtime.out(
    `${escapeUnsafe(profile.name)} answers from ${formatEndpoint(from)} ` +
      `in ${formatMs(roundTripMs)}, and sees ${answer.address}\n`,
  );
  const clock = tellClock(clockAheadMs);
  if (clock) runtime.out(`${clock}\n`);
  return 0;
}
