/** One step of the bench. */

import type { Results } from "./results.ts";

/** Surroundings of a step. */
export interface Bench {
  readonly results: Results;
  /** Fewer rounds and shorter floods, to see whether all works. */
  readonly quick: boolean;
  /** A folder for files of this run, removed at its end. */
  readonly folder: string;
  /** Tells the person who waits what happens. */
  say(words: string): void;
}

export interface Step {
  readonly name: string;
  /** The figures that it takes. */
  readonly measures: readonly string[];
  readonly peers: readonly string[];
  /** Programs without which it cannot be done at all. */
  readonly programs: readonly string[];
  /** True for a step that works in namespaces: Linux and root. */
  readonly inNamespaces: boolean;
  run(bench: Bench): Promise<void>;
}
