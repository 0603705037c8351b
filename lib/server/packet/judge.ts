/**
 * The judge: who may open what, for how long. Pure: a request, the client's
 * policy and a time in; a grant, or a refusal with its name, out. The same
 * for every dialect. Protocol, "The order of judging", steps 6 and 8.
 * @module
 */

import type { Client } from "../../config/config.ts";
import { oneTimeCode, STEP_MS } from "../../dialects/codes.ts";
import type { Request } from "../../dialects/dialect.ts";
import {
  type Endpoint,
  isHostAddress,
  isIpv4,
  isLoopback,
  isPrivate,
  prefixContains,
} from "../../values/address.ts";
import { containsPorts, type PortRange } from "../../values/ports.ts";
import { hoursEnd, withinHours } from "../../values/time.ts";
import {
  chooseCommand,
  chooseForward,
  type Machine,
  NO_MACHINE,
} from "./forwarding.ts";

/** Why an authentic request is refused. */
export type PolicyRefusal =
  | "expired"
  | "hours"
  | "address required"
  | "address"
  | "source"
  | "ports"
  | "protocol"
  | "target"
  | "nothing to open"
  | "forward"
  | "command"
  | "code"
  | "code used"
  | "code tries";

/** What the judge decided. */
export type Verdict =
  | {
    readonly ok: true;
    /** Canonical. */
    readonly address: string;
    /** What to open or close; empty for ping. */
    readonly ports: readonly PortRange[];
    /** Where connections go instead; null: where they go anyway. */
    readonly to: Endpoint | null;
    /** The name of the command to run; null for all but run. */
    readonly command: string | null;
    /** Seconds granted; 0 for all but open. */
    readonly seconds: number;
    /** Which one-time code was used, by its 30 s step; null where none is wanted. */
    readonly codeStep: number | null;
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

/**
 * Step 8: what the client's policy makes of a timely, first-seen request. That a
 * one-time code was not used before is for the caller to see to, by its step.
 */
export function judge(
  request: Request,
  client: Client,
  source: string,
  nowMs: number,
  machine: Machine = NO_MACHINE,
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
  if (!isClientAddress(address, source, machine)) return refuse("address");
  if (
    client.from?.some((prefix) => prefixContains(prefix, address)) === false
  ) {
    return refuse("source");
  }
  const codeStep = client.code && findStep(client.code, request);
  if (client.code && codeStep === null) return refuse("code");
  const granted = {
    ok: true,
    address,
    codeStep,
    ports: [],
    to: null,
    command: null,
    seconds: 0,
  } as const;
  switch (request.action) {
    case "ping":
      return granted;
    case "run": {
      const command = chooseCommand(request, client, machine);
      return command === null ? refuse("command") : { ...granted, command };
    }
    case "open":
    case "close": {
      if (request.protocol !== undefined) return refuse("protocol");
      if (
        request.target !== undefined &&
        !mayBeHere(request.target, address, machine.ownAddresses)
      ) {
        return refuse("target");
      }
      const ports = request.ports.length > 0 ? request.ports : client.open;
      if (ports.length === 0) return refuse("nothing to open");
      const wanted = request.action === "close"
        ? 0
        : Math.min(request.seconds || client.forSeconds, client.maxForSeconds);
      const untilMs = latestEnd(client, nowMs, nowMs + wanted * 1000);
      const seconds = Math.floor((untilMs - nowMs) / 1000);
      if (seconds < 1 && wanted > 0) {
        return refuse(untilMs === client.expiresMs ? "expired" : "hours");
      }
      if (request.forward) {
        const [asked, ...more] = request.ports;
        const forwarding = asked && more.length === 0
          ? chooseForward(request.forward, asked, client, machine)
          : null;
        return forwarding
          ? { ...granted, ports, to: forwarding.to, seconds }
          : refuse("forward");
      }
      const may = ports.every((wanted) =>
        client.open.some((range) => containsPorts(range, wanted))
      );
      return may ? { ...granted, ports, seconds } : refuse("ports");
    }
  }
}

/**
 * Whether a service's address may be this machine's for a client's. One that
 * no interface has may be, where a router holds the public address.
 */
function mayBeHere(
  target: string,
  client: string,
  own: readonly string[],
): boolean {
  if (isIpv4(target) !== isIpv4(client)) return false;
  if (own.includes(target) || isLoopback(target)) return true;
  const family = own.filter((one) => isIpv4(one) === isIpv4(target));
  return !isPrivate(target) && family.every(isPrivate);
}

/** Whether an address can be that of one client: a source may be forged, a named address may be any. */
export function isClientAddress(
  address: string,
  source: string,
  { taken }: Pick<Machine, "taken">,
): boolean {
  if (!isHostAddress(address) || taken.has(address)) return false;
  // The kernel takes packets from loopback addresses from this machine only.
  return !isLoopback(address) || isLoopback(source);
}

/** When a client's grant that should last until `untilMs` ends at the latest: it outlives neither its expiry nor its hours. */
export function latestEnd(
  { expiresMs, hours }: Pick<Client, "expiresMs" | "hours">,
  nowMs: number,
  untilMs: number,
): number {
  const endMs = Math.min(untilMs, expiresMs ?? Infinity);
  return hours ? Math.min(endMs, hoursEnd(hours, nowMs, endMs)) : endMs;
}

/** The 30 s step whose code this is: before, of or after the time stamp; null if none. */
function findStep(secret: Uint8Array, request: Request): number | null {
  if (request.code === null) return null;
  for (const offset of [0, -1, 1]) {
    const timeMs = request.timestampMs + offset * STEP_MS;
    if (oneTimeCode(secret, timeMs) === request.code) {
      return Math.floor(timeMs / STEP_MS);
    }
  }
  return null;
}

function refuse(why: PolicyRefusal): Verdict {
  return { ok: false, why };
}
