/** What became of a knock, for programs: `--json`. */

import type { Answered, Outcome } from "../../client/knock/outcome_.ts";
import type { Profile } from "../../client/profile/profile.ts";
import type { Action } from "../../dialects/dialect.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { formatJson } from "../../values/text.ts";

const SECOND_MS = 1000;

/** One JSON object, on a line. */
export function outcomeJson(
  profile: Profile,
  action: Action,
  ports: readonly PortRange[],
  outcome: Outcome,
  nowMs: number,
): string {
  const told = {
    profile: profile.name,
    server: formatEndpoint(profile.server),
    action,
    ports: ports.map(formatPortRange),
  };
  const became = outcome.kind === "answered"
    ? tellAnswer(outcome, nowMs)
    : outcome.kind === "sent"
    ? { status: "sent", addresses: outcome.addresses }
    : {
      status: "no answer",
      addresses: outcome.addresses,
      tries: outcome.tries,
    };
  return `${formatJson({ ...told, ...became })}\n`;
}

function tellAnswer(
  { answer, from, roundTripMs, clockAheadMs }: Answered,
  nowMs: number,
) {
  const { status, count, seconds, address } = answer;
  return {
    status,
    count,
    address,
    seconds,
    until: seconds > 0
      ? new Date(nowMs + seconds * SECOND_MS).toISOString()
      : null,
    from: formatEndpoint(from),
    round_trip_ms: Math.round(roundTripMs * 10) / 10,
    clock_ahead_ms: Math.round(clockAheadMs),
  };
}
