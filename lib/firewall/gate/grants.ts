/** The grants of the gate, single-use ones until they are used. */

import { networksAround } from "../../values/address.ts";
import { containsPorts, type PortRange } from "../../values/ports.ts";
import { type Grant, openingKey } from "../firewall.ts";

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
    const known = grants.filter((one) => !one.once || held.has(useKey(one)));
    this.#open.clear();
    for (const [address, own] of Map.groupBy(known, (one) => one.address)) {
      this.#keep(address, own);
    }
  }

  /** Takes `live` for all that is open to the addresses of `grants`, which may be used again if they were. */
  renew(grants: readonly Grant[], live: readonly Grant[]): void {
    for (const grant of grants) this.#spent.delete(useKey(grant));
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
