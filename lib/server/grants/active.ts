/** What is in force: the configuration that is judged by, and the firewall that obeys it. */

import type { Client, Config } from "../../config/config.ts";
import type { Firewall } from "../../firewall/firewall.ts";
import { grantee } from "../../sequences/sequence.ts";

/** The configuration and the firewall of this moment; a reload replaces both at once. */
export class ActiveConfig {
  #config: Config;
  #firewall: Firewall;
  #clients: ReadonlyMap<string, Client>;
  #once: ReadonlySet<string>;

  constructor(config: Config, firewall: Firewall) {
    this.#config = config;
    this.#firewall = firewall;
    this.#clients = clientsOf(config);
    this.#once = onceOf(config);
  }

  get config(): Config {
    return this.#config;
  }

  get firewall(): Firewall {
    return this.#firewall;
  }

  /** The client of this name, if there is one. */
  client(name: string): Client | undefined {
    return this.#clients.get(name);
  }

  /** Whether the grants of a client or a sequence are for one connection. */
  isOnce(name: string): boolean {
    return this.#once.has(name);
  }

  /** Has these be in force from now on. */
  adopt(config: Config, firewall: Firewall): void {
    this.#config = config;
    this.#firewall = firewall;
    this.#clients = clientsOf(config);
    this.#once = onceOf(config);
  }
}

/** The names under which a configuration grants: its clients' and its doors'. */
export function granteesOf({ clients, doors }: Config): Set<string> {
  return new Set([
    ...clients.map(({ name }) => name),
    ...doors.map(({ name }) => grantee(name)),
  ]);
}

function clientsOf({ clients }: Config): Map<string, Client> {
  return new Map(clients.map((one) => [one.name, one]));
}

function onceOf({ clients, doors }: Config): Set<string> {
  return new Set([
    ...clients.filter(({ once }) => once).map(({ name }) => name),
    ...doors.filter(({ opens }) => opens[0]?.once)
      .map(({ name }) => grantee(name)),
  ]);
}
