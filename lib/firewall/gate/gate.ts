/**
 * The gate backend: the program itself listens on the services' ports and
 * passes connections on, for addresses with a grant. It needs no rights, no
 * firewall and no particular system. TCP alone. Grants end with the process.
 * @module
 */

import type { Runtime, Stoppable, Stream } from "../../runtime/runtime.ts";
import { relay } from "../../runtime/sockets/relay.ts";
import { networksAround } from "../../values/address.ts";
import {
  containsPorts,
  formatPortRange,
  onePort,
  type PortRange,
} from "../../values/ports.ts";
import {
  type Firewall,
  FirewallError,
  type Grant,
  type Guarded,
  openAmong,
  openingKey,
} from "../firewall.ts";
import { GateListeners, readTargets, type Targets } from "./listeners.ts";

/** Longest time that the service behind may take to accept. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Interval at which expired grants are forgotten. */
const SWEEP_EVERY_MS = 60_000;

/** Makes a gate that listens on nothing yet. */
export function gateFirewall(runtime: Runtime): Firewall {
  return new GateFirewall(runtime);
}

class GateFirewall implements Firewall {
  readonly endsGrants = true;
  readonly name = "gate";
  readonly #runtime: Runtime;
  readonly #listeners: GateListeners;
  #targets: Targets = new Map();
  readonly #grants = new GateGrants();
  readonly #room = new GateRoom();
  #sweeper: Stoppable | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#listeners = new GateListeners(
      runtime,
      (connection, port) => void this.#take(connection, port),
    );
  }

  async apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    _nowMs: number,
  ): Promise<void> {
    const targets = readTargets(services);
    await this.#listeners.listenOn(targets.keys());
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
    if (open[0] && !open.some(({ ports }) => this.#listeners.serve(ports))) {
      throw new FirewallError(
        `the gate does not listen on "${formatPortRange(open[0].ports)}"`,
        "only ports of services can be opened with this backend",
      );
    }
    this.#grants.renew(touched);
    this.#grants.replace(touched, live);
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
    await this.#listeners.close();
  }

  async remove(): Promise<void> {
    await this.stop();
    this.#targets = new Map();
    this.#grants.clear();
  }

  /** Passes a connection on if it is granted, or else closes it. Never throws. */
  async #take(connection: Stream, port: number): Promise<void> {
    const address = connection.peer.host;
    const target = this.#targets.get(port);
    const isGranted = () =>
      this.#grants.use(address, onePort("tcp", port), this.#runtime.nowMs());
    if (!target || !this.#room.isFor(address) || !isGranted()) {
      connection.close();
      return;
    }
    this.#room.count(address, 1);
    try {
      const service = await this.#runtime.connectStream(target, {
        timeoutMs: CONNECT_TIMEOUT_MS,
      });
      await relay(connection, service);
    } catch {
      // The service behind does not answer: the client sees the end of it.
      connection.close();
    } finally {
      this.#room.count(address, -1);
    }
  }
}

// The grants of the gate, single-use ones until they are used.

/** Open ports, by address or network. */
export class GateGrants {
  readonly #open = new Map<string, readonly Grant[]>();
  /** Single-use grants that were used, until they would have ended. */
  readonly #spent = new Map<string, number>();

  /**
   * Takes these for all that is open. A single-use grant is only kept: of one
   * from before this process its use is unknown.
   */
  adopt(grants: readonly Grant[]): void {
    const held = new Set([...this.#open.values()].flat().map(useKey));
    const byAddress = new Map<string, Grant[]>();
    for (const grant of grants) {
      if (grant.once && !held.has(useKey(grant))) continue;
      const own = byAddress.get(grant.address) ?? [];
      own.push(grant);
      byAddress.set(grant.address, own);
    }
    this.#open.clear();
    for (const [address, own] of byAddress) this.#keep(address, own);
  }

  /** Lets grants be used again that were used up. */
  renew(grants: readonly Grant[]): void {
    for (const grant of grants) this.#spent.delete(useKey(grant));
  }

  /** Takes `live` for all that is open to the addresses of `grants`. */
  replace(grants: readonly Grant[], live: readonly Grant[]): void {
    for (const address of new Set(grants.map((grant) => grant.address))) {
      this.#keep(address, live.filter((grant) => grant.address === address));
    }
  }

  /** True if a grant allows this connection, which uses up a single-use grant. */
  use(address: string, port: PortRange, nowMs: number): boolean {
    const around = networksAround(address);
    const live = around.flatMap((one) => this.#open.get(one) ?? []).filter((
      { ports, untilMs },
    ) => untilMs > nowMs && containsPorts(ports, port));
    // A single-use grant is not spent where another one is enough.
    const grant = live.find(({ once }) => !once) ?? live[0];
    if (!grant) return false;
    if (grant.once) {
      this.#spent.set(useKey(grant), grant.untilMs);
      this.#keep(grant.address, this.#open.get(grant.address) ?? []);
    }
    return true;
  }

  /** True if a grant for one connection is still to be used. */
  holds(grant: Grant): boolean {
    const own = this.#open.get(grant.address) ?? [];
    return own.some((one) => one.once && useKey(one) === useKey(grant));
  }

  /** Forgets what is over. */
  sweep(nowMs: number): void {
    for (const [address, own] of this.#open) {
      this.#keep(address, own.filter(({ untilMs }) => untilMs > nowMs));
    }
    for (const [use, untilMs] of this.#spent) {
      if (untilMs <= nowMs) this.#spent.delete(use);
    }
  }

  /** Ends all; what was used stays used. */
  clear(): void {
    this.#open.clear();
  }

  #keep(address: string, grants: readonly Grant[]): void {
    const unspent = grants.filter((grant) => !this.#spent.has(useKey(grant)));
    if (unspent.length > 0) this.#open.set(address, unspent);
    else this.#open.delete(address);
  }
}

/** Key that tells one single-use grant from another, extended or new. */
function useKey(grant: Grant): string {
  return `${grant.client} ${openingKey(grant)} ${grant.untilMs}`;
}

/** The most connections at once, of all and of one address. */
export const MAX_CONNECTIONS = 1024;
export const MAX_CONNECTIONS_OF_ADDRESS = 64;

/** The connections there are, those that are being made included. */
class GateRoom {
  readonly #connections = new Map<string, number>();
  #total = 0;

  /** True if an address may have one more connection. */
  isFor(address: string): boolean {
    return this.#total < MAX_CONNECTIONS &&
      (this.#connections.get(address) ?? 0) < MAX_CONNECTIONS_OF_ADDRESS;
  }

  /** One more of an address, or one less. */
  count(address: string, change: 1 | -1): void {
    const count = (this.#connections.get(address) ?? 0) + change;
    if (count > 0) this.#connections.set(address, count);
    else this.#connections.delete(address);
    this.#total += change;
  }
}
