/** What is fuzzed: a parser, and what it is fed at first. */

/** A parser that is fed bytes. */
export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Throws an OperatorError at most, and only where an operator's file is read. */
  readonly run: (bytes: Uint8Array) => void;
  /** How long a call may take, for one that may be slow. */
  readonly limitMs?: number;
}
