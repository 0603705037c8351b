/** Checks of a configuration's parts against each other, and its warnings. */

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
import type { Client, Config, ListenEntry, Service } from "../config.ts";
import { at, type Mistake, show } from "../../values/schema.ts";
import type { ServerYaml } from "../shape.ts";

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

/** Services that `open` may name. */
export interface KnownServices {
  readonly services: readonly Service[];
  /** The names of all services, of those with mistakes too. */
  readonly serviceNames: readonly string[];
}

/**
 * Reads `open`, of a client or a sequence: names of services become their
 * ports, `all` those of every service.
 */
export function readOpen(
  path: string,
  { open }: { readonly open: readonly (string | PortRange)[] },
  { services, serviceNames }: KnownServices,
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
export function checkServices(
  { firewall, listen }: ServerYaml,
  services: readonly Service[],
  mistakes: Mistake[],
): void {
  const gate = firewall.backend === "gate";
  const knocks = listen.map((entry) =>
    onePort(isDatagram(entry) ? "udp" : "tcp", entry.port)
  );
  const seen: { name: string; range: PortRange; to: Service["to"] }[] = [];
  for (const { name, ports, to, at: hosts } of services) {
    const say = (text: string, hint?: string) =>
      mistakes.push({ path: at("services", name), text, hint });
    if (name === ALL) {
      say(`must have another name, as "open: ${ALL}" means every service`);
    }
    // Ports of another host are not this machine's: checkBehind().
    if (hosts) continue;
    for (const range of ports) {
      const shown = formatPortRange(range);
      if (knocks.some((port) => overlapPorts(range, port))) {
        say(`must not be the port that knocks come to, got "${shown}"`);
      }
      if (gate && range.protocol !== "tcp") {
        say(`must be tcp/PORT with the gate backend, got "${shown}"`);
      }
      const own = to && OWN_HOSTS.test(to.host) ? to : null;
      if (own && overlapPorts(range, onePort("tcp", own.port))) {
        say(
          `must not lead to itself, got "${shown}" to "${formatEndpoint(own)}"`,
          "listen on another port than the service's own",
        );
      }
      // Who forwards or proxies a port owns it; guarded ones may be named twice.
      const other = seen.find((earlier) =>
        (earlier.to || to) && overlapPorts(earlier.range, range)
      );
      if (other) {
        say(`must be a port of its own, got "${shown}" as in "${other.name}"`);
      }
      seen.push({ name, range, to });
    }
    if (gate && to === null) {
      say(
        `must say where connections go with the gate backend, ` +
          `got "${ports.map(formatPortRange).join(", ")}"`,
        `${name}: { listen: tcp/2222, to: "127.0.0.1:22" }`,
      );
    }
  }
}

/** True for a UDP port, with a socket or without. */
function isDatagram({ transport }: ListenEntry): boolean {
  return transport === undefined || transport === "sniff";
}

function collide(wide: ListenEntry, narrow: ListenEntry): boolean {
  return wide.port === narrow.port && (
    wide.host === narrow.host || wide.host === "::" ||
    (wide.host === "0.0.0.0" && isIpv4(narrow.host))
  );
}

/** Hosts by which this machine reaches itself. */
const OWN_HOSTS = /^(localhost|127\..*|0\.0\.0\.0|::1?)$/;

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

/** The names of those that `open` has, by name or by `all`. */
export function behindOf(
  services: readonly Service[],
  { open }: { readonly open: readonly unknown[] },
): string[] {
  return services.filter((service) =>
    service.at && (open.includes(service.name) || open.includes(ALL))
  ).map(({ name }) => name);
}

/** Checks what `at` goes with, and that no two services have a port of one host. */
export function checkBehind(
  yaml: ServerYaml,
  services: readonly Service[],
  mistakes: Mistake[],
): void {
  const { backend, mode } = yaml.firewall;
  const all = services.filter((service) => service.at);
  for (const [index, service] of all.entries()) {
    const { name, ports, to, cut, kill, at: hosts } = service;
    const say = (text: string, hint?: string) =>
      mistakes.push({ path: at("services", `${name}.at`), text, hint });
    if (backend !== "nft" || mode !== "guard") {
      const got = mode === "guard" ? `backend ${backend}` : `mode ${mode}`;
      say(`is for nft in mode guard, got ${got}`);
    }
    if (to) say(`must be absent with to, got to "${formatEndpoint(to)}"`);
    if (cut || kill) {
      say("must be absent with cut and kill", "its host ends its connections");
    }
    for (const other of all.slice(0, index)) {
      const host = hosts?.find((one) => other.at?.includes(one));
      const port = ports.find((range) =>
        other.ports.some((taken) => overlapPorts(range, taken))
      );
      if (host === undefined || !port) continue;
      say(
        `must have ports of its own, got ${formatPortRange(port)} of ` +
          `${show(host)} as in "${other.name}"`,
      );
    }
  }
  for (const [name, client] of yaml.clients) {
    const [service] = client.once ? behindOf(services, client) : [];
    if (service === undefined) continue;
    mistakes.push({
      path: at("clients", `${name}.once`),
      text:
        `must be false for service "${service}", which is of a host behind ` +
        "this machine",
    });
  }
  for (const [name, sequence] of yaml.sequences) {
    const [service] = behindOf(services, sequence);
    if (service === undefined) continue;
    mistakes.push({
      path: at("sequences", `${name}.open`),
      text: `must be ports of this machine, got service "${service}", which ` +
        "is of a host behind it",
    });
  }
}

// What is valid, and has consequences that its author may not expect.

/** Warnings about keys that are valid and unwise. */
export function keyWarnings(clients: readonly Client[]): string[] {
  return clients.flatMap((client) =>
    DIALECT_NAMES.flatMap((name) => {
      const danger = client[name] && DIALECTS[name].client.warn?.(client[name]);
      return danger ? [`${at("clients", client.name)}.${name}: ${danger}`] : [];
    })
  );
}

/** Warnings about grants for networks: others there get in, too. */
export function networkWarnings(clients: readonly Client[]): string[] {
  return clients.flatMap(({ name, network }) => {
    const { ipv4, ipv6 } = network ?? {};
    if (!ipv4 && !ipv6) return [];
    const parts = [ipv4 && `IPv4 /${ipv4}`, ipv6 && `IPv6 /${ipv6}`]
      .filter(Boolean).join(" and ");
    const count = ipv4 ? ` (${2 ** (32 - ipv4)} addresses)` : "";
    return [
      `${at("clients", `${name}.network`)}: each grant lets in everybody in ` +
      `the network of the address, ${parts}${count}`,
    ];
  });
}

/** Services that no client and no port sequence may open. */
export function unusedServices(
  { services, clients, sequences }: Config,
): string[] {
  const opened = [
    ...clients.flatMap(({ open }) => open),
    ...sequences.flatMap(({ opens }) => opens.flatMap(({ open }) => open)),
  ];
  return services.filter(({ ports }) =>
    !ports.some((port) => opened.some((range) => overlapPorts(range, port)))
  ).map(({ name }) => name);
}

/** Warnings about services that no client may open, and clients that have expired. */
export function policyWarnings(config: Config, nowMs: number): string[] {
  return [
    ...unusedServices(config).map((name) =>
      `${at("services", name)}: no client may open it`
    ),
    ...config.clients.filter(({ expiresMs }) =>
      expiresMs !== null && expiresMs <= nowMs
    ).map(({ name, expiresMs }) =>
      `${at("clients", name)}: expired on ${new Date(expiresMs!).toISOString()}`
    ),
  ];
}
