/** What `knock decode` prints of an explanation. */

import type { Request } from "../../dialects/dialect.ts";
import type { Explained, Would } from "../../server/explain/policy.ts";
import { explainRefusal } from "../../server/report/messages.ts";
import { formatEndpoint } from "../../values/address.ts";
import { formatPortRange } from "../../values/ports.ts";

/** An explanation as JSON that `knock decode` prints. */
export function showExplained(explained: Explained) {
  const { dialect, verdict, client, request, would, fields, steps } = explained;
  return {
    dialect,
    verdict,
    client,
    request: request && showRequest(request),
    would: would && showWould(would),
    ...fields && { fields },
    steps,
  };
}

/** A request as JSON. */
export function showRequest(request: Request) {
  const { forward, user, target } = request;
  return {
    action: request.action,
    ports: request.ports.map(formatPortRange),
    command: request.command,
    seconds: request.seconds,
    timestamp_ms: request.timestampMs,
    address: request.address,
    reply_wanted: request.wantsReply,
    one_time_code_present: request.code !== null,
    ...forward && {
      forward: { kind: forward.kind, to: formatEndpoint(forward) },
    },
    ...user !== undefined && { user },
    ...target !== undefined && { target },
  };
}

function showWould(would: Would) {
  if (would.ok) {
    const { address, ports, seconds } = would;
    const granted = { address, ports: ports.map(formatPortRange), seconds };
    return { granted };
  }
  const { why } = would;
  const reason = why === "replay"
    ? "it was accepted before"
    : explainRefusal(why);
  return { refused: why, reason };
}
