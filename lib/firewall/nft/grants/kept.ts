/** Grants that nft cannot keep as they are, and why. */

import type { Runtime } from "../../../runtime/runtime.ts";
import { formatPortRange } from "../../../values/ports.ts";
import { familyOf, FirewallError, type Grant } from "../../firewall.ts";
import { checkTarget, type ForwardRule } from "../rules/forwards.ts";
import { placesOf, type Plan } from "../rules/plan.ts";

/** Throws FirewallError where a grant cannot be kept as it is. */
export function checkGrant(runtime: Runtime, plan: Plan, grant: Grant): void {
  const { address, ports, to } = grant;
  if (isOddRange(grant)) throw rangeError(grant);
  const family = familyOf(address);
  const { host } = placesOf(plan);
  if (host && !host.families.includes(family)) {
    throw new FirewallError(
      `cannot open for ${address}: firewall.chain is of table ${host.table}`,
      "a chain of family inet is for IPv4 and IPv6",
    );
  }
  if (to || ports.first !== ports.last) return;
  const forward = plan.forwards.find((one) => leadsOn(one, grant));
  if (!forward) return;
  const target = forward.targets.find((one) => one.family === family);
  if (target) return checkTarget(runtime, target);
  throw new FirewallError(
    `cannot open ${formatPortRange(ports)} for ${address}: service ` +
      `"${forward.name}" leads to an address of the other IP version`,
  );
}

/**
 * True for a grant of a range that can be no element: a rule cannot delete from
 * a set of intervals, and a range has no single target.
 */
export function isOddRange({ address, at, once, to, ports }: Grant): boolean {
  const isMany = ports.first !== ports.last || address.includes("/") || at;
  return Boolean((once || to !== null) && isMany);
}

function rangeError({ address, at, once, ports }: Grant): FirewallError {
  if (at) {
    return new FirewallError(
      `cannot open ${at} behind this machine for a single use`,
      "take once out of the client",
    );
  }
  if (address.includes("/")) {
    return new FirewallError(
      `cannot open for the network ${address}: a single use, and a port that ` +
        "leads elsewhere, is for one address",
      "take network or once out of the client",
    );
  }
  const shown = `got "${formatPortRange(ports)}"`;
  return once
    ? new FirewallError(
      `a range of ports cannot be opened for a single use, ${shown}`,
      "list the ports one by one where once is true",
    )
    : new FirewallError(`a range of ports cannot lead to one port, ${shown}`);
}

function leadsOn({ ports }: ForwardRule, { ports: wanted }: Grant): boolean {
  const { protocol, first } = wanted;
  return ports.some((range) =>
    range.protocol === protocol && range.first <= first && first <= range.last
  );
}
