/** The ports that the gate listens on. */

import {
  type Listener,
  type Runtime,
  type Stream,
  SystemError,
} from "../../runtime/runtime.ts";
import { containsPorts, type PortRange } from "../../values/ports.ts";
import { listenError } from "./gate_targets.ts";

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

  /** Whether it listens on a port. */
  has(port: number): boolean {
    return this.#listeners.has(port);
  }

  /** Whether it listens on any of these ports. */
  serve(ports: PortRange): boolean {
    return [...this.#listeners.keys()].some((port) =>
      containsPorts(ports, tcpPort(port))
    );
  }

  /** Lets go of all ports. */
  async close(): Promise<void> {
    await closeAll(this.#listeners.values());
    this.#listeners.clear();
  }
}

/** One port as a range. */
export function tcpPort(port: number): PortRange {
  return { protocol: "tcp", first: port, last: port };
}

async function closeAll(listeners: Iterable<Listener>): Promise<void> {
  await Promise.all([...listeners].map((listener) => listener.close()));
}
