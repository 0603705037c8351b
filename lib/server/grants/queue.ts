/** Requests of one client that wait for the firewall; more fail. */
export const MAX_WAITING = 256;

/**
 * The one serialiser of the server: no two pieces of work that read the
 * ledger and change the firewall run at once.
 */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Map<string, number>();

  /** Runs work when all before it has ended, even if that failed. */
  add<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Runs work that a client asked for, and counts it while it waits. */
  addFor<T>(client: string, work: () => Promise<T>): Promise<T> {
    return this.during(client, () => this.add(work));
  }

  /** Counts a client's request while work for it goes on beside the queue. */
  during<T>(client: string, work: () => Promise<T>): Promise<T> {
    this.#wait(client, 1);
    return work().finally(() => this.#wait(client, -1));
  }

  /** Tests whether no more requests of a client may wait. */
  isFull(client: string): boolean {
    return (this.#waiting.get(client) ?? 0) >= MAX_WAITING;
  }

  /** Tests whether a request of a client waits, or is being carried out. */
  hasWaiting(client: string): boolean {
    return this.#waiting.has(client);
  }

  /** Resolves when all work so far has ended. Never throws. */
  async settled(): Promise<void> {
    await this.#last;
  }

  #wait(client: string, change: 1 | -1): void {
    const count = (this.#waiting.get(client) ?? 0) + change;
    if (count > 0) this.#waiting.set(client, count);
    else this.#waiting.delete(client);
  }
}
