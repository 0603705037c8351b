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
} from "../runtime/runtime.ts";
import { SystemError } from "../runtime/runtime.ts";
import { containsPorts, formatPortRange } from "../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
} from "./firewall.ts";
import { listenError, readTargets, type Targets } from "./gate_targets.ts";
import { relay } from "./relay.ts";

/** The most connections at once, of all and of one address. */
export const MAX_CONNECTIONS = 1024;
export const MAX_CONNECTIONS_OF_ADDRESS = 64;

/** How long the service behind may take to answer. */
const CONNECT_TIMEOUT_MS = 10_000;

/** How often grants whose time is over are forgotten. */
const SWEEP_EVERY_MS = 60_000;

/** Makes a gate that listens on nothing yet. */
export function gateFirewall(runtime: Runtime): Firewall {
  return new GateFirewall(runtime);
}

class GateFirewall implements Firewall {
  readonly endsGrants = true;
  readonly name = "gate";
  readonly #runtime: Runtime;
  readonly #listeners = new Map<number, Listener>();
  #targets: Targets = new Map();
  readonly #grants = new Map<string, readonly Grant[]>();
  /** Single-use grants that were used, until they would have ended. */
  readonly #spent = new Map<string, number>();
  /** Connections by address, those that are being made included. */
  readonly #connections = new Map<string, number>();
  #total = 0;
  #sweeper: Stoppable | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    _nowMs: number,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const targets = readTargets(services);
      await this.#listen(targets);
      this.#targets = targets;
      this.#adopt(grants);
      this.#sweeper ??= this.#runtime.every(
        SWEEP_EVERY_MS,
        () => this.#sweep(this.#runtime.nowMs()),
      );
    });
  }

  // deno-lint-ignore require-await -- the interface's
  async open(grants: readonly Grant[], all: readonly Grant[]): Promise<void> {
    const first = grants[0];
    if (first && !grants.some((grant) => this.#serves(grant))) {
      throw new FirewallError(
        `the gate does not listen on "${formatPortRange(first.ports)}"`,
        "only ports of services can be opened with this backend",
      );
    }
    for (const grant of grants) this.#spent.delete(useKey(grant));
    this.#replace(grants, [...grants, ...all]);
  }

  // deno-lint-ignore require-await -- the interface's
  async close(grants: readonly Grant[], all: readonly Grant[]): Promise<void> {
    this.#replace(grants, all);
  }

  intact(): Promise<boolean> {
    const here = [...this.#targets.keys()];
    return Promise.resolve(here.every((port) => this.#listeners.has(port)));
  }

  stop(): Promise<void> {
    return this.#inTurn(async () => {
      this.#sweeper?.stop();
      this.#sweeper = null;
      await closeAll(this.#listeners.values());
      this.#listeners.clear();
    });
  }

  async remove(): Promise<void> {
    await this.stop();
    this.#targets = new Map();
    this.#grants.clear();
  }

  /** Listens on what is new, then lets go of what is no more. */
  async #listen(targets: Targets): Promise<void> {
    const fresh = new Map<number, Listener>();
    for (const port of targets.keys()) {
      if (this.#listeners.has(port)) continue;
      try {
        fresh.set(
          port,
          await this.#runtime.listenStream(
            { host: "::", port },
            (connection) => void this.#take(connection, port),
          ),
        );
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

  /**
   * Takes these for all that is open. A single-use grant is only kept: of one
   * from before this process nobody knows whether it was used.
   */
  #adopt(grants: readonly Grant[]): void {
    const held = new Set([...this.#grants.values()].flat().map(useKey));
    const byAddress = new Map<string, Grant[]>();
    for (const grant of grants) {
      if (grant.once && !held.has(useKey(grant))) continue;
      const own = byAddress.get(grant.address) ?? [];
      own.push(grant);
      byAddress.set(grant.address, own);
    }
    this.#grants.clear();
    for (const [address, own] of byAddress) this.#keep(address, own);
  }

  /** Passes a connection on if it is granted, or else closes it. Never throws. */
  async #take(connection: Stream, port: number): Promise<void> {
    const address = connection.peer.host;
    const target = this.#targets.get(port);
    if (!target || !this.#hasRoom(address) || !this.#use(address, port)) {
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

  #serves({ ports }: Grant): boolean {
    return [...this.#listeners.keys()].some((port) =>
      containsPorts(ports, { protocol: "tcp", first: port, last: port })
    );
  }

  #hasRoom(address: string): boolean {
    return this.#total < MAX_CONNECTIONS &&
      (this.#connections.get(address) ?? 0) < MAX_CONNECTIONS_OF_ADDRESS;
  }

  #count(address: string, change: 1 | -1): void {
    const count = (this.#connections.get(address) ?? 0) + change;
    if (count > 0) this.#connections.set(address, count);
    else this.#connections.delete(address);
    this.#total += change;
  }

  /** Whether a grant lets this in; a single-use one is used up by it. */
  #use(address: string, port: number): boolean {
    const nowMs = this.#runtime.nowMs();
    const wanted = { protocol: "tcp", first: port, last: port } as const;
    const own = this.#grants.get(address) ?? [];
    const live = own.filter(({ ports, untilMs }) =>
      untilMs > nowMs && containsPorts(ports, wanted)
    );
    // A single-use grant is not spent where another one is enough.
    const grant = live.find(({ once }) => !once) ?? live[0];
    if (!grant) return false;
    if (grant.once) {
      this.#spent.set(useKey(grant), grant.untilMs);
      this.#keep(address, own);
    }
    return true;
  }

  /** Takes `live` for all that is open to the addresses of `grants`. */
  #replace(grants: readonly Grant[], live: readonly Grant[]): void {
    for (const address of new Set(grants.map((grant) => grant.address))) {
      this.#keep(address, live.filter((grant) => grant.address === address));
    }
  }

  #keep(address: string, grants: readonly Grant[]): void {
    const unspent = grants.filter((grant) => !this.#spent.has(useKey(grant)));
    if (unspent.length > 0) this.#grants.set(address, unspent);
    else this.#grants.delete(address);
  }

  #sweep(nowMs: number): void {
    for (const [address, own] of this.#grants) {
      this.#keep(address, own.filter(({ untilMs }) => untilMs > nowMs));
    }
    for (const [use, untilMs] of this.#spent) {
      if (untilMs <= nowMs) this.#spent.delete(use);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

async function closeAll(listeners: Iterable<Listener>): Promise<void> {
  await Promise.all([...listeners].map((listener) => listener.close()));
}

/** What tells one single-use grant from another, extended or new. */
function useKey({ client, address, ports, untilMs }: Grant): string {
  return `${client} ${address} ${formatPortRange(ports)} ${untilMs}`;
}
