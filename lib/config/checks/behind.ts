/** Checks of services of hosts behind this machine. */

import { formatEndpoint } from "../../values/address.ts";
import { formatPortRange, overlapPorts } from "../../values/ports.ts";
import { at, type Mistake, show } from "../../values/schema.ts";
import type { ServerYaml, ServiceYaml } from "../shape.ts";
import { ALL } from "./checks.ts";

type Behind = Extract<ServiceYaml, { listen: unknown }>;

/** Services with an `at`, by name. */
function behindOf({ services }: ServerYaml): [name: string, Behind][] {
  return [...services].flatMap(([name, service]): [string, Behind][] =>
    "listen" in service && service.at ? [[name, service]] : []
  );
}

/** Checks what `at` goes with, and that no two services have a port of one host. */
export function checkBehind(yaml: ServerYaml, mistakes: Mistake[]): void {
  const { backend, mode } = yaml.firewall;
  const all = behindOf(yaml);
  for (const [index, [name, service]] of all.entries()) {
    const path = at("services", `${name}.at`);
    const hosts = service.at ?? [];
    const say = (text: string, hint?: string) =>
      mistakes.push({ path, text, hint });
    if (backend !== "nft" || mode !== "guard") {
      const got = mode === "guard" ? `backend ${backend}` : `mode ${mode}`;
      say(`is for nft in mode guard, got ${got}`);
    }
    if (service.to) {
      say(`must be absent with to, got to "${formatEndpoint(service.to)}"`);
    }
    if (service.cut || service.kill) {
      say("must be absent with cut and kill", "its host ends its connections");
    }
    for (const [other, { at: others, listen }] of all.slice(0, index)) {
      const host = hosts.find((one) => others?.includes(one));
      const port = service.listen.find((range) =>
        listen.some((taken) => overlapPorts(range, taken))
      );
      if (host === undefined || !port) continue;
      say(
        `must have ports of its own, got ${formatPortRange(port)} of ` +
          `${show(host)} as in "${other}"`,
      );
    }
  }
  const names = all.map(([name]) => name);
  const opens = (open: readonly unknown[]) =>
    names.find((name) => open.includes(name) || open.includes(ALL));
  for (const [name, { once, open }] of yaml.clients) {
    const service = once ? opens(open) : undefined;
    if (service === undefined) continue;
    mistakes.push({
      path: at("clients", `${name}.once`),
      text:
        `must be false for service "${service}", which is of a host behind ` +
        "this machine",
    });
  }
  for (const [name, { open }] of yaml.sequences) {
    const service = opens(open);
    if (service === undefined) continue;
    mistakes.push({
      path: at("sequences", `${name}.open`),
      text: `must be ports of this machine, got service "${service}", which ` +
        "is of a host behind it",
    });
  }
}
