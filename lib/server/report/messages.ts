/** What the log says of grants and refusals, in one place. */

import { isLinkLocal } from "../../values/address.ts";
import type { PolicyRefusal } from "../packet/judge.ts";
import { formatDuration } from "../../values/duration.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";

const REASONS: Readonly<Record<PolicyRefusal, string>> = {
  "expired": "this client has expired",
  "hours": "outside this client's hours",
  "address required": "this client must name its address",
  "address":
    "the address named is not the packet's source, or not that of another host",
  "source": "the address is not one of this client's",
  "ports": "a port that this client may not open",
  "protocol": "a protocol without ports, such as ICMP: only TCP and UDP open",
  "target": "the service's address named is not one of this machine's",
  "nothing to open": "this client may open nothing",
  "forward": "this client may not have a port passed on",
  "command": "a command that this client may not run",
  "code": "the one-time code is missing or wrong",
  "code used": "the one-time code was used before",
  "code tries": "too many wrong one-time codes: wait, up to an hour",
};

/** Why a request was refused, in words. */
export function explainRefusal(why: PolicyRefusal, address?: string): string {
  return why === "address" && address && isLinkLocal(address)
    ? `${address} is another host on every network: use an address that is not link-local`
    : REASONS[why];
}

/** How far a time stamp is off, in words. */
export function explainSkew(aheadMs: number): string {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const side = aheadMs < 0 ? "behind" : "ahead of";
  return `its time stamp is ${seconds} s ${side} this machine's clock`;
}

/** Ports as "tcp/22,udp/8000-8010". */
export function formatPorts(ports: readonly PortRange[]): string {
  return ports.map(formatPortRange).join(",");
}

/** "until 2026-11-21T14:05:10.000Z (30s)". */
export function formatUntil(nowMs: number, seconds: number): string {
  const until = new Date(nowMs + seconds * 1000).toISOString();
  return `until ${until} (${formatDuration(seconds)})`;
}
