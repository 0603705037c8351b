/** Spread of a set of timings. Pure. */

export interface Spread {
  readonly n: number;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/** The spread of some timings, to three significant decimals; null of none. */
export function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) =>
    round(sorted[Math.round(share * (sorted.length - 1))]!);
  return { n: sorted.length, median: at(0.5), p10: at(0.1), p90: at(0.9) };
}

/** A figure as it is worth writing down. */
export function round(value: number): number {
  if (Number.isInteger(value)) return value;
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(3));
}
