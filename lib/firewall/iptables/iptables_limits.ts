/** Grants that iptables cannot hold, and why. */

import { formatPortRange } from "../../values/ports.ts";
import { type Family, familyOf } from "../family.ts";
import { FirewallError, type Grant } from "../firewall.ts";
import { LAST_STOP_SECONDS } from "./rules.ts";

/** Why a grant cannot be had with iptables; null when it can. */
export function trouble(
  { address, ports, untilMs, once, to }: Grant,
  families: readonly Family[],
  lacking: string | null,
): FirewallError | null {
  const shown = formatPortRange(ports);
  if (to) return forwardError(shown);
  if (once) {
    return new FirewallError(
      `iptables cannot end a grant with its first connection, got "${shown}"`,
      "once is for firewall.backend nft or gate",
    );
  }
  if (!families.includes(familyOf(address))) {
    return new FirewallError(`nothing can be opened for IPv6: ${lacking}`);
  }
  if (untilMs / 1000 > LAST_STOP_SECONDS) {
    return new FirewallError(
      "iptables cannot hold a grant until after January 2038",
    );
  }
  return null;
}

/** That something would lead elsewhere: a service by name, or a grant's ports. */
export function forwardError(what: string): FirewallError {
  return new FirewallError(
    `iptables cannot forward, got "${what}" with "to"`,
    "services with a to are for firewall.backend nft or gate",
  );
}
