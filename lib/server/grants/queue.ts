/** Changes of the firewall, one after the other. */

import { Turns } from "../../firewall/firewall.ts";

/** Requests of one client that wait for the firewall; more fail. */
export const MAX_WAITING = 256;

/** What is to be done, in the order in which it was asked for. */
export class Queue {
  readonly #turns = new Turns();
  /** How many requests of each client wait. */
  readonly #waiting = new Map<string, number>();

  /** Runs a change after those before it. */
  add<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.take(work);
  }

  /** Runs a change that a client asked for: it waits among its own, too. */
  addFor<T>(client: string, work: () => Promise<T>): Promise<T> {
    this.#wait(client, 1);
    return this.add(work).finally(() => this.#wait(client, -1));
  }

  /** Whether no more requests of a client may wait. */
  isFull(client: string): boolean {
    return (this.#waiting.get(client) ?? 0) >= MAX_WAITING;
  }

  /** Resolves when all changes so far are done. */
  settled(): Promise<void> {
    return this.#turns.ended();
  }

  #wait(client: string, change: 1 | -1): void {
    const count = (this.#waiting.get(client) ?? 0) + change;
    if (count > 0) this.#waiting.set(client, count);
    else this.#waiting.delete(client);
  }
}
