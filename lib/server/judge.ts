/**
 * The judge: who may open what, for how long. Pure: a request, the client's
 * policy and a time in; a grant, or a refusal with its name, out. The same
 * for every dialect. Protocol, "The order of judging", steps 6 and 8.
 * @module
 */

import type { Client } from "../config/config.ts";
import { withinHours } from "../config/hours.ts";
import type { Request } from "../dialects/dialect.ts";
import { prefixContains } from "../values/address.ts";
import { containsPorts, type PortRange } from "../values/ports.ts";

/** Why an authentic request is refused. */
export type PolicyRefusal =
  | "expired"
  | "hours"
  | "address required"
  | "address"
  | "source"
  | "ports"
  | "nothing to open"
  | "forward"
  | "command";

/** What the judge decided. */
export type Verdict =
  | {
    readonly ok: true;
    /** Canonical. */
    readonly address: string;
    /** What to open or close; empty for ping. */
    readonly ports: readonly PortRange[];
    /** Seconds granted; 0 for close and ping. */
    readonly seconds: number;
  }
  | { readonly ok: false; readonly why: PolicyRefusal };

/** Step 6: whether the stamp is within the clock difference that is allowed. */
export function isTimely(
  request: Request,
  nowMs: number,
  maxSkewMs: number,
): boolean {
  return Math.abs(request.timestampMs - nowMs) <= maxSkewMs;
}

/** Step 8: what the client's policy makes of a timely, first-seen request. */
export function judge(
  request: Request,
  client: Client,
  source: string,
  nowMs: number,
): Verdict {
  if (client.expiresMs !== null && nowMs >= client.expiresMs) {
    return refuse("expired");
  }
  if (client.hours && !withinHours(client.hours, new Date(nowMs))) {
    return refuse("hours");
  }
  if (client.requireAddress && request.address === null) {
    return refuse("address required");
  }
  const address = request.address ?? source;
  if (address !== source && !client.anyAddress) return refuse("address");
  if (
    client.from?.some((prefix) => prefixContains(prefix, address)) === false
  ) {
    return refuse("source");
  }
  switch (request.action) {
    case "ping":
      return { ok: true, address, ports: [], seconds: 0 };
    case "run":
      return refuse("command");
    case "open":
    case "close": {
      const ports = request.ports.length > 0 ? request.ports : client.open;
      if (ports.length === 0) return refuse("nothing to open");
      // Opening the port itself would be another thing than what is asked.
      if (request.forward) return refuse("forward");
      const may = ports.every((wanted) =>
        client.open.some((range) => containsPorts(range, wanted))
      );
      if (!may) return refuse("ports");
      const seconds = request.action === "close"
        ? 0
        : Math.min(request.seconds || client.forSeconds, client.maxForSeconds);
      return { ok: true, address, ports, seconds };
    }
  }
}

function refuse(why: PolicyRefusal): Verdict {
  return { ok: false, why };
}
