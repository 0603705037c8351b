/** What the gate backend listens on, and where it passes connections on to. */

import type { SystemError } from "../../runtime/runtime.ts";
import { formatPortRange } from "../../values/ports.ts";
import { type Endpoint, FirewallError, type Guarded } from "../firewall.ts";

/** The most ports of one range: each is a listening socket. */
export const MAX_PORTS = 256;

/** Where the connections to each port go. */
export type Targets = ReadonlyMap<number, Endpoint>;

/** Reads them from the services; throws FirewallError for what a gate cannot do. */
export function readTargets(services: readonly Guarded[]): Targets {
  const targets = new Map<number, Endpoint>();
  for (const { name, ports, to } of services) {
    for (const range of ports) {
      const text = formatPortRange(range);
      if (range.protocol !== "tcp") {
        throw new FirewallError(
          `services.${name}: the gate passes on TCP only, got "${text}"`,
          "set firewall.backend to nft or iptables",
        );
      }
      if (!to) {
        throw new FirewallError(
          `services.${name}: the gate must know where connections go`,
          `write ${name}: { listen: ${text}, to: "127.0.0.1:PORT" }`,
        );
      }
      if (range.last - range.first >= MAX_PORTS) {
        throw new FirewallError(
          `services.${name}: the gate listens on at most ${MAX_PORTS} ` +
            `ports of a range, got "${text}"`,
          "set firewall.backend to nft or iptables",
        );
      }
      for (let port = range.first; port <= range.last; port++) {
        if (targets.has(port)) {
          throw new FirewallError(
            `services.${name}: another service has "tcp/${port}" already`,
          );
        }
        targets.set(port, to);
      }
    }
  }
  return targets;
}

/** Why a port cannot be listened on, with the cure. */
export function listenError(port: number, error: SystemError): FirewallError {
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: "let the service itself listen elsewhere, such as on " +
      "127.0.0.1 with another port, and name that in to",
    EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE; " +
      "or choose a higher one",
  };
  return new FirewallError(
    `cannot listen on tcp/${port}: ${error.message}`,
    hints[error.code],
  );
}
