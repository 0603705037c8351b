/** What the parts of a configuration must be to each other. */

import { formatEndpoint, isIpv4 } from "../values/address.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
} from "../values/ports.ts";
import type { Listen } from "./config.ts";
import { at, type Mistake } from "../values/mistake.ts";
import type { ServerYaml } from "./shape.ts";

/** Checks that no two sockets want the same address and port. */
export function checkListen({ listen }: ServerYaml, mistakes: Mistake[]): void {
  for (const [index, entry] of listen.entries()) {
    const other = listen.slice(0, index).find((earlier) =>
      "transport" in earlier === "transport" in entry &&
      (collide(earlier, entry) || collide(entry, earlier))
    );
    if (!other) continue;
    mistakes.push({
      path: at("listen", index),
      text:
        `must be free of the other entries, got "${formatEndpoint(entry)}"` +
        ` beside "${formatEndpoint(other)}"`,
    });
  }
}

/** Checks the services against the knock port, each other and the backend. */
export function checkServices(yaml: ServerYaml, mistakes: Mistake[]): void {
  const gate = yaml.firewall.backend === "gate";
  const seen: { name: string; range: PortRange; to: boolean }[] = [];
  for (const [name, service] of yaml.services) {
    const path = at("services", name);
    const { listen, to } = "listen" in service
      ? service
      : { listen: service, to: null };
    for (const range of listen) {
      const shown = formatPortRange(range);
      const say = (text: string, hint?: string) =>
        mistakes.push({ path, text, hint });
      const knock = yaml.listen.find((entry) => {
        const protocol = "transport" in entry ? "tcp" : "udp";
        const { port } = entry;
        return overlapPorts(range, { protocol, first: port, last: port });
      });
      if (knock) {
        say(`must not be the port that knocks come to, got "${shown}"`);
      }
      if (gate && range.protocol !== "tcp") {
        say(`must be tcp/PORT with the gate backend, got "${shown}"`);
      }
      if (to && isOwn(to.host) && contains(range, to.port)) {
        say(
          `must not lead to itself, got "${shown}" to "${formatEndpoint(to)}"`,
          "listen on another port than the service's own",
        );
      }
      // Who forwards or proxies a port owns it; guarded ones may be named twice.
      const other = seen.find((earlier) =>
        overlapPorts(earlier.range, range) && (earlier.to || to)
      );
      if (other) {
        say(`must be a port of its own, got "${shown}" as in "${other.name}"`);
      }
      seen.push({ name, range, to: to !== null });
    }
    if (gate && to === null) {
      mistakes.push({
        path,
        text: `must say where connections go with the gate backend, ` +
          `got "${listen.map(formatPortRange).join(", ")}"`,
        hint: `${name}: { listen: tcp/2222, to: "127.0.0.1:22" }`,
      });
    }
  }
}

function collide(wide: Listen, narrow: Listen): boolean {
  return wide.port === narrow.port && (
    wide.host === narrow.host || wide.host === "::" ||
    (wide.host === "0.0.0.0" && isIpv4(narrow.host))
  );
}

function isOwn(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.") ||
    host === "0.0.0.0" || host === "::";
}

function contains(range: PortRange, port: number): boolean {
  return range.protocol === "tcp" && range.first <= port && port <= range.last;
}
