/** How many connections the gate passes on at once. */

/** The most connections at once, of all and of one address. */
export const MAX_CONNECTIONS = 1024;
export const MAX_CONNECTIONS_OF_ADDRESS = 64;

/** The connections there are, those that are being made included. */
export class GateRoom {
  readonly #connections = new Map<string, number>();
  #total = 0;

  /** Whether one more of an address may be. */
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
