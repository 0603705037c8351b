/** A parser to fuzz, and its first inputs. */

/** A parser that is fed bytes. */
export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Throws an OperatorError at most, and only where an operator's file is read. */
  readonly run: (bytes: Uint8Array) => void;
  /** Longest call, for a parser that may be slow. */
  readonly limitMs?: number;
}
