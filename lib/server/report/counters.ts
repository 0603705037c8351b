/** What outsiders send is counted, never logged: numbers by name. */

/** Counts by name; the names are ours, so their number is bounded. */
export class Counters {
  readonly #counts = new Map<string, number>();
  #changed = false;

  /** All counts so far. */
  get all(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Takes over what somebody else counts, the kernel say. */
  set(name: string, count: number): void {
    if (this.#counts.get(name) === count) return;
    this.#counts.set(name, count);
    this.#changed = true;
  }

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    this.#changed = true;
  }

  /** All counts so far; null if nothing changed since the last call. */
  takeChanged(): Readonly<Record<string, number>> | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.all;
  }
}
