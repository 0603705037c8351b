/**
 * The judge: who may open what, for how long. Pure: a request, the client's
 * policy and a time in; a grant, or a refusal with its name, out. The same
 * for every dialect. Protocol, "The order of judging", steps 6 and 8.
 * @module
 */

import type { Policy } from "../../config/config.ts";
import { oneTimeCode, STEP_MS } from "../../dialects/crypto/codes.ts";
import type { PolicyRefusal, Request } from "../../dialects/dialect.ts";
import {
  type Endpoint,
  isHostAddress,
  isIpv4,
  isLoopback,
  isPrivate,
  networkOf,
  prefixContains,
} from "../../values/address.ts";
import type { PortRange } from "../../values/ports.ts";
import { hoursEnd, withinHours } from "../../values/time.ts";
import {
  chooseCommand,
  chooseForward,
  type Machine,
  mayOpen,
  NO_MACHINE,
} from "./forwarding.ts";

/** Decision of {@linkcode judge}. */
export type Verdict =
  | {
    readonly ok: true;
    /** Canonical; of `open` and `close` with a policy of networks "192.0.2.0/24". */
    readonly address: string;
    /** Ports to open or close; empty for ping and run. */
    readonly ports: readonly PortRange[];
    /** Target that connections are forwarded to; null: the service's own. */
    readonly to: Endpoint | null;
    /** Name of the command to run; null for all but run. */
    readonly command: string | null;
    /** Seconds granted; 0 for all but open. */
    readonly seconds: number;
    /** 30 s step of the one-time code; null if the policy requires none. */
    readonly codeStep: number | null;
  }
  | { readonly ok: false; readonly why: PolicyRefusal };

/**
 * Checks step 6 of the protocol: true if the request's time stamp is at most
 * `maxSkewMs` from `nowMs`. Both are milliseconds.
 *
 * @example
 * ```ts
 * import { isTimely, type Request } from "@knock/knock/protocol";
 * import { assert } from "@std/assert";
 *
 * const request = { timestampMs: 1_700_000_000_000 } as Request;
 * assert(isTimely(request, 1_700_000_060_000, 120_000));
 * assert(!isTimely(request, 1_700_000_180_000, 120_000));
 * ```
 */
export function isTimely(
  request: Request,
  nowMs: number,
  maxSkewMs: number,
): boolean {
  return Math.abs(request.timestampMs - nowMs) <= maxSkewMs;
}

/**
 * Applies a client's policy to a request that is authentic, timely and not a
 * replay (step 8 of the protocol). The caller must check that the one-time code
 * of `codeStep` was not used before. Pure: never throws, reads no clock.
 *
 * @param request What {@linkcode Dialect.open} returned.
 * @param client Rights of the client that `request.client` names.
 * @param source Address that the packet came from, canonical.
 * @param nowMs Unix milliseconds.
 * @param machine Facts about the server; without them, nothing is forwarded or run.
 *
 * @example
 * ```ts
 * import { judge, type Policy, type Request } from "@knock/knock/protocol";
 * import { assertEquals } from "@std/assert";
 *
 * const policy: Policy = {
 *   open: [{ protocol: "tcp", first: 22, last: 22 }],
 *   forSeconds: 3600,
 *   maxForSeconds: 28_800,
 *   from: null,
 *   requireAddress: false,
 *   anyAddress: false,
 *   expiresMs: null,
 *   hours: null,
 *   code: null,
 *   run: [],
 * };
 * const request: Request = {
 *   dialect: "knock",
 *   client: "laptop",
 *   action: "open",
 *   ports: [{ protocol: "tcp", first: 22, last: 22 }],
 *   command: null,
 *   seconds: 60,
 *   timestampMs: 1_700_000_000_000,
 *   address: null,
 *   code: null,
 *   identity: new Uint8Array(32),
 *   wantsReply: true,
 * };
 * assertEquals(judge(request, policy, "192.0.2.7", request.timestampMs), {
 *   ok: true,
 *   address: "192.0.2.7",
 *   ports: [{ protocol: "tcp", first: 22, last: 22 }],
 *   to: null,
 *   command: null,
 *   seconds: 60,
 *   codeStep: null,
 * });
 * const other = { ...request, ports: [{ ...request.ports[0]!, last: 23 }] };
 * assertEquals(judge(other, policy, "192.0.2.7", request.timestampMs), {
 *   ok: false,
 *   why: "ports",
 * });
 * ```
 */
export function judge(
  request: Request,
  client: Policy,
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
  const whole = recipientOf(address, client);
  if (whole !== recipientOf(source, client) && !client.anyAddress) {
    return refuse("address");
  }
  if (!isClientAddress(address, source, machine)) return refuse("address");
  if (client.from?.every((prefix) => !prefixContains(prefix, address))) {
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
        if (!forwarding) return refuse("forward");
        const { to } = forwarding;
        return {
          ...granted,
          address: to ? address : whole,
          ports,
          to,
          seconds,
        };
      }
      return ports.every((wanted) => mayOpen(client, wanted))
        ? { ...granted, address: whole, ports, seconds }
        : refuse("ports");
    }
  }
}

/** Address or network that a grant for an address is for: as wide as the policy says, and no wider than its `from`. */
function recipientOf(
  address: string,
  { network, from }: Pick<Policy, "network" | "from">,
): string {
  const most = isIpv4(address) ? 32 : 128;
  const bits = (isIpv4(address) ? network?.ipv4 : network?.ipv6) ?? most;
  if (bits === most || isLoopback(address)) return address;
  const allowed = (from ?? [])
    .filter((prefix) => prefixContains(prefix, address))
    .map((prefix) => prefix.bits - (128 - most));
  const widest = allowed.length > 0 ? Math.min(...allowed) : 0;
  return networkOf(address, Math.max(bits, widest));
}

/**
 * Checks that a service's address may be this machine's, as seen by the client.
 * An address of no interface passes if a router holds the public address.
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

/** Checks that an address can belong to one client: a source may be forged, a named address may be any. */
export function isClientAddress(
  address: string,
  source: string,
  { taken }: Pick<Machine, "taken">,
): boolean {
  if (!isHostAddress(address) || taken.has(address)) return false;
  // The kernel takes packets from loopback addresses from this machine only.
  return !isLoopback(address) || isLoopback(source);
}

/** Latest end, Unix milliseconds, of a grant wanted until `untilMs`: no later than the client's expiry and hours. */
export function latestEnd(
  { expiresMs, hours }: Pick<Policy, "expiresMs" | "hours">,
  nowMs: number,
  untilMs: number,
): number {
  const endMs = Math.min(untilMs, expiresMs ?? Infinity);
  return hours ? Math.min(endMs, hoursEnd(hours, nowMs, endMs)) : endMs;
}

/** 30 s step of the request's code: the step of the time stamp or a neighbour; null if none fits. */
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
