/** The ports that the gate listens on, and the targets that it passes connections to. */

import type { Listener, Runtime, Stream } from "../../runtime/runtime.ts";
import type { Endpoint } from "../../values/address.ts";
import {
  containsPorts,
  formatPortRange,
  onePort,
  type PortRange,
} from "../../values/ports.ts";
import { FirewallError, type Guarded } from "../firewall.ts";
import { SystemError } from "../../values/errors.ts";

/** The listening sockets, of IPv4 and IPv6 at once. */
export class GateListeners {
  readonly #runtime: Runtime;
  readonly #take: (connection: Stream, port: number) => void;
  readonly #listeners = new Map<number, Listener>();

  /** Listens on nothing yet; `take` gets each connection. It must not throw. */
  constructor(
    runtime: Runtime,
    take: (connection: Stream, port: number) => void,
  ) {
    this.#runtime = runtime;
    this.#take = take;
  }

  /** Listens on what is new, then lets go of what is no more. Throws FirewallError. */
  async listenOn(ports: Iterable<number>): Promise<void> {
    const wanted = new Set(ports);
    const fresh = new Map<number, Listener>();
    for (const port of wanted) {
      if (this.#listeners.has(port)) continue;
      try {
        fresh.set(
          port,
          await this.#runtime.listenStream(
            { host: "::", port },
            (connection) => this.#take(connection, port),
          ),
        );
      } catch (error) {
        await closeAll(fresh.values());
        throw error instanceof SystemError ? listenError(port, error) : error;
      }
    }
    for (const [port, listener] of fresh) this.#listeners.set(port, listener);
    for (const [port, listener] of this.#listeners) {
      if (wanted.has(port)) continue;
      this.#listeners.delete(port);
      await listener.close();
    }
  }

  /** True if the gate listens on this port. */
  has(port: number): boolean {
    return this.#listeners.has(port);
  }

  /** True if the gate listens on any of these ports. */
  serve(ports: PortRange): boolean {
    return [...this.#listeners.keys()].some((port) =>
      containsPorts(ports, onePort("tcp", port))
    );
  }

  async close(): Promise<void> {
    await closeAll(this.#listeners.values());
    this.#listeners.clear();
  }
}

async function closeAll(listeners: Iterable<Listener>): Promise<void> {
  await Promise.all([...listeners].map((listener) => listener.close()));
}

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

function listenError(port: number, error: SystemError): FirewallError {
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
