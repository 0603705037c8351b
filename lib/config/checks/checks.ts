/** Checks of a configuration's parts against each other. */

import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import { formatEndpoint, isIpv4 } from "../../values/address.ts";
import {
  formatPortRange,
  onePort,
  overlapPorts,
  portHint,
  type PortRange,
} from "../../values/ports.ts";
import { nearest } from "../../values/text.ts";
import type { Client, Listen, ListenEntry, Service } from "../config.ts";
import { at, type Mistake, show } from "../../values/schema.ts";
import type { ServerYaml, ServiceYaml } from "../shape.ts";

/** Checks that no two sockets want the same address and port. */
export function checkListen({ listen }: ServerYaml, mistakes: Mistake[]): void {
  for (const [index, entry] of listen.entries()) {
    const other = listen.slice(0, index).find((earlier) =>
      isDatagram(earlier) === isDatagram(entry) &&
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

/** Word in `open` for the ports of every service. */
export const ALL = "all";

/**
 * Reads `open`, of a client or a sequence: names of services become their
 * ports, `all` those of every service. `serviceNames` are all names, those of services with mistakes too.
 */
export function readOpen(
  path: string,
  { open }: { readonly open: readonly (string | PortRange)[] },
  { services, serviceNames }: {
    readonly services: readonly Service[];
    readonly serviceNames: readonly string[];
  },
  mistakes: Mistake[],
): PortRange[] {
  const found = new Map<string, PortRange>();
  for (const [index, entry] of open.entries()) {
    const isAll = entry === ALL;
    if (typeof entry === "string" && !isAll && !serviceNames.includes(entry)) {
      mistakes.push({
        path: open.length > 1 ? at(`${path}.open`, index) : `${path}.open`,
        text: `must be the name of a service, all, tcp/PORT or udp/PORT, ` +
          `got ${show(entry)}`,
        hint: portHint(entry) ?? nearest(entry, serviceNames),
      });
    }
    const ranges = typeof entry === "string"
      ? services.filter(({ name }) => isAll || name === entry)
        .flatMap(({ ports }) => ports)
      : [entry];
    for (const range of ranges) found.set(formatPortRange(range), range);
  }
  return [...found.values()];
}

/** Checks the services against the knock port, each other and the backend. */
export function checkServices(yaml: ServerYaml, mistakes: Mistake[]): void {
  const gate = yaml.firewall.backend === "gate";
  const seen: { name: string; range: PortRange; to: boolean }[] = [];
  for (const [name, service] of yaml.services) {
    const path = at("services", name);
    if (name === ALL) {
      mistakes.push({
        path,
        text: `must have another name, as "open: ${ALL}" means every service`,
      });
    }
    const { listen, to } = "listen" in service
      ? service
      : { listen: service, to: null };
    // Ports of another host are not this machine's: checkBehind().
    if ("listen" in service && service.at) continue;
    for (const range of listen) {
      const shown = formatPortRange(range);
      const say = (text: string, hint?: string) =>
        mistakes.push({ path, text, hint });
      const knock = yaml.listen.find((entry) => {
        const protocol = isDatagram(entry) ? "udp" : "tcp";
        const { port } = entry;
        return overlapPorts(range, onePort(protocol, port));
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

/** True for a UDP port, with a socket or without. */
function isDatagram({ transport }: ListenEntry): boolean {
  return transport === undefined || transport === "sniff";
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

/** Checks that no two clients share a key that identifies them. */
export function checkKeys(
  clients: readonly Client[],
  mistakes: Mistake[],
): void {
  for (const name of DIALECT_NAMES) {
    for (const { key, wanted, of } of DIALECTS[name].client.marks) {
      const owners = new Map<string, string>();
      for (const client of clients) {
        const mark = client[name] && of(client[name])?.toHex();
        if (!mark) continue;
        const owner = owners.get(mark);
        if (owner === undefined) owners.set(mark, client.name);
        else {
          mistakes.push({
            path: at("clients", `${client.name}.${name}.${key}`),
            text: `must be ${wanted} of its own, got the same as client ` +
              `"${owner}"`,
          });
        }
      }
    }
  }
}

// Services of hosts behind this machine.

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
