/** Clients whose packets were opened of late: tried first, where a packet names none. */

import type { DialectName } from "../../dialects/dialect.ts";
import {
  type Endpoint,
  isCanonical,
  isIpv4,
  networkOf,
} from "../../values/address.ts";

/** Most networks that are remembered, and most clients of each. */
const MAX_NETWORKS = 4096;
const MAX_OF_NETWORK = 8;
/** Most clients that are remembered wherever their packets came from. */
const MAX_ANYWHERE = 16;

/**
 * Indexes of clients, by the network that their packets came from. An address
 * can be forged, so it only says whom to try first: no client is kept out.
 */
export class RecentClients {
  /** By network and by dialect, each by its own text, the latest first. */
  readonly #indexes = new Map<string, ReadonlyMap<string, Uint8Array>>();

  /** Returns the latest clients from near a source, and then those from anywhere, none twice. */
  of(dialect: DialectName, source: Endpoint | undefined): Uint8Array[] {
    const near = source && this.#indexes.get(nameOf(dialect, source));
    const anywhere = this.#indexes.get(dialect);
    return [...new Map([...near ?? [], ...anywhere ?? []]).values()];
  }

  /** Notes a client whose packet was opened. */
  note(
    dialect: DialectName,
    index: Uint8Array,
    source: Endpoint | undefined,
  ): void {
    // A copy: it may be a part of many.
    const own = new Uint8Array(index);
    this.#add(dialect, own, MAX_ANYWHERE);
    if (source) this.#add(nameOf(dialect, source), own, MAX_OF_NETWORK);
  }

  #add(name: string, index: Uint8Array, most: number): void {
    const text = index.toHex();
    const others = [...this.#indexes.get(name) ?? []]
      .filter(([other]) => other !== text);
    // Deleted first, so that the map stays in the order of use.
    this.#indexes.delete(name);
    const latest = [[text, index] as const, ...others].slice(0, most);
    this.#indexes.set(name, new Map(latest));
    if (this.#indexes.size > MAX_NETWORKS) {
      this.#indexes.delete(this.#indexes.keys().next().value!);
    }
  }
}

/** A client's next address is often of the same network. */
function nameOf(dialect: DialectName, { host }: Endpoint): string {
  const network = isCanonical(host)
    ? networkOf(host, isIpv4(host) ? 24 : 64)
    : host;
  return `${dialect} ${network}`;
}
