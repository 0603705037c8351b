/**
 * The gate backend: the program itself listens on the services' ports and
 * passes connections on, for addresses with a grant. It needs no rights, no
 * firewall and no particular system. TCP alone. Grants end with the process.
 * @module
 */

import type {
  Listener,
  Runtime,
  Stoppable,
  Stream,
} from "../../runtime/runtime.ts";
import { relay } from "../../runtime/sockets/relay.ts";
import type { Endpoint } from "../../values/address.ts";
import { SystemError } from "../../values/errors.ts";
import { containsPorts, formatPortRange, onePort } from "../../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  openAmong,
} from "../firewall.ts";
import { GateGrants } from "./grants.ts";

/** Longest time that the service behind may take to accept. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Interval at which expired grants are forgotten. */
const SWEEP_EVERY_MS = 60_000;

/** The most connections at once, of all and of one address. */
const MAX_CONNECTIONS = 1024;
export const MAX_CONNECTIONS_OF_ADDRESS = 64;

/** The most ports of one range: each is a listening socket. */
const MAX_PORTS = 256;

/** A gate, which listens on nothing before the first apply(). */
export class GateFirewall implements Firewall {
  readonly endsGrants = true;
  readonly name = "gate";
  readonly #runtime: Runtime;
  /** The listening sockets by port, of IPv4 and IPv6 at once. */
  readonly #listeners = new Map<number, Listener>();
  #targets: Targets = new Map();
  readonly #grants = new GateGrants();
  /** Number of connections that are passed on, or are about to be, by address. */
  readonly #connections = new Map<string, number>();
  /** The same of all addresses. */
  #total = 0;
  #sweeper: Stoppable | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  async apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
  ): Promise<void> {
    const targets = readTargets(services);
    await this.#listenOn(targets);
    this.#targets = targets;
    this.#grants.adopt(grants);
    this.#sweeper ??= this.#runtime.every(
      SWEEP_EVERY_MS,
      () => this.#grants.sweep(this.#runtime.nowMs()),
    );
  }

  // deno-lint-ignore require-await -- the interface's
  async change(
    touched: readonly Grant[],
    live: readonly Grant[],
  ): Promise<void> {
    const open = openAmong(touched, live);
    const own = [...this.#listeners.keys()].map((port) => onePort("tcp", port));
    const isOwn = ({ ports }: Grant) =>
      own.some((port) => containsPorts(ports, port));
    if (open[0] && !open.some(isOwn)) {
      throw new FirewallError(
        `the gate does not listen on "${formatPortRange(open[0].ports)}"`,
        "only ports of services can be opened with this backend",
      );
    }
    this.#grants.renew(touched, live);
  }

  unused(grants: readonly Grant[]): Promise<readonly Grant[]> {
    return Promise.resolve(grants.filter((one) => this.#grants.holds(one)));
  }

  intact(): Promise<boolean> {
    const here = [...this.#targets.keys()];
    return Promise.resolve(here.every((port) => this.#listeners.has(port)));
  }

  async stop(): Promise<void> {
    this.#sweeper?.stop();
    this.#sweeper = null;
    await closeAll(this.#listeners.values());
    this.#listeners.clear();
  }

  async remove(): Promise<void> {
    await this.stop();
    this.#targets = new Map();
    this.#grants.adopt([]);
  }

  /** Listens on what is new, then lets go of what is no more. Throws FirewallError. */
  async #listenOn(targets: Targets): Promise<void> {
    const fresh = new Map<number, Listener>();
    for (const port of targets.keys()) {
      if (this.#listeners.has(port)) continue;
      const take = (connection: Stream) => void this.#take(connection, port);
      try {
        const at = { host: "::", port };
        fresh.set(port, await this.#runtime.listenStream(at, take));
      } catch (error) {
        await closeAll(fresh.values());
        throw error instanceof SystemError ? listenError(port, error) : error;
      }
    }
    for (const [port, listener] of fresh) this.#listeners.set(port, listener);
    for (const [port, listener] of this.#listeners) {
      if (targets.has(port)) continue;
      this.#listeners.delete(port);
      await listener.close();
    }
  }

  /** Passes a connection on if it is granted, or else closes it. Never throws. */
  async #take(connection: Stream, port: number): Promise<void> {
    const address = connection.peer.host;
    const target = this.#targets.get(port);
    const isGranted = () =>
      this.#grants.use(address, onePort("tcp", port), this.#runtime.nowMs());
    if (!target || !this.#hasRoom(address) || !isGranted()) {
      connection.close();
      return;
    }
    this.#count(address, 1);
    try {
      const service = await this.#runtime.connectStream(target, {
        timeoutMs: CONNECT_TIMEOUT_MS,
      });
      await relay(connection, service);
    } catch {
      // The service behind does not answer: the client sees the end of it.
      connection.close();
    } finally {
      this.#count(address, -1);
    }
  }

  /** True if an address may have one more connection; as soon told of a stranger's, however many there are. */
  #hasRoom(address: string): boolean {
    const own = this.#connections.get(address) ?? 0;
    return this.#total < MAX_CONNECTIONS && own < MAX_CONNECTIONS_OF_ADDRESS;
  }

  /** Counts one more connection of an address, or one less. */
  #count(address: string, change: 1 | -1): void {
    const own = (this.#connections.get(address) ?? 0) + change;
    if (own > 0) this.#connections.set(address, own);
    else this.#connections.delete(address);
    this.#total += change;
  }
}

async function closeAll(listeners: Iterable<Listener>): Promise<void> {
  await Promise.all([...listeners].map((listener) => listener.close()));
}

/** Where the connections to each port go. */
type Targets = ReadonlyMap<number, Endpoint>;

const CURE = "set firewall.backend to nft or iptables";

/** Reads them from the services; throws FirewallError for what a gate cannot do. */
function readTargets(services: readonly Guarded[]): Targets {
  const targets = new Map<number, Endpoint>();
  for (const { name, ports, to } of services) {
    const wrong = (words: string, hint?: string) =>
      new FirewallError(`services.${name}: ${words}`, hint);
    for (const range of ports) {
      const text = formatPortRange(range);
      if (range.protocol !== "tcp") {
        throw wrong(`the gate passes on TCP only, got "${text}"`, CURE);
      }
      if (!to) {
        throw wrong(
          "the gate must know where connections go",
          `write ${name}: { listen: ${text}, to: "127.0.0.1:PORT" }`,
        );
      }
      if (range.last - range.first >= MAX_PORTS) {
        const most = `at most ${MAX_PORTS} ports of a range`;
        throw wrong(`the gate listens on ${most}, got "${text}"`, CURE);
      }
      for (let port = range.first; port <= range.last; port++) {
        if (targets.has(port)) {
          throw wrong(`another service has "tcp/${port}" already`);
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
