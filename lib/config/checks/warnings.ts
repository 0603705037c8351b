/** Warnings about a configuration that is valid and has consequences its author may not expect. */

import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import { overlapPorts } from "../../values/ports.ts";
import { at } from "../../values/schema.ts";
import type { Client, Config } from "../config.ts";

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
    const parts = [
      ...network?.ipv4 ? [`IPv4 /${network.ipv4}`] : [],
      ...network?.ipv6 ? [`IPv6 /${network.ipv6}`] : [],
    ];
    if (parts.length === 0) return [];
    const count = network?.ipv4
      ? ` (${2 ** (32 - network.ipv4)} addresses)`
      : "";
    return [
      `${at("clients", `${name}.network`)}: each grant lets in everybody in ` +
      `the network of the address, ${parts.join(" and ")}${count}`,
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
