/** Changes of a firewall, one at a time. */

/** A queue of work. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Does the work when all before it has ended, even if that failed. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Waits until all that was taken has ended. Never throws. */
  async ended(): Promise<void> {
    await this.#last;
  }
}
