/** The figures of one run: each is there, or null with a reason. */

import { round, type Spread, spreadOf } from "./statistics.ts";

/** As written to `bench/results/latest.json`. */
export interface Report {
  readonly machine: string;
  /** RFC 3339. */
  readonly at: string;
  readonly quick: boolean;
  readonly measures: Readonly<Record<string, number | null>>;
  readonly peers: Readonly<Record<string, number | null>>;
  readonly spread: Readonly<Record<string, Spread>>;
  /** Why a figure is null. */
  readonly reasons: Readonly<Record<string, string>>;
  /** Steps that were run by themselves after the others, and when (RFC 3339). */
  readonly steps?: Readonly<Record<string, string>>;
  /** Series that are drawn: [x, y] pairs. */
  readonly series: Readonly<Record<string, readonly (readonly number[])[]>>;
}

/**
 * The latest report with what a run of one step found in place of what was
 * there of it: all that it measured, and why the rest of its figures is null.
 */
export function mergeStep(
  latest: Report,
  own: Report,
  step: {
    readonly name: string;
    readonly measures: readonly string[];
    readonly peers: readonly string[];
  },
): Report {
  const pick = <T>(
    all: Readonly<Record<string, T>>,
    names: readonly string[],
  ) =>
    Object.fromEntries(
      names.flatMap((name) => name in all ? [[name, all[name]!]] : []),
    );
  const drop = <T>(all: Readonly<Record<string, T>>) =>
    Object.fromEntries(
      Object.entries(all).filter(([name]) => !names.includes(name)),
    );
  const names = [...step.measures, ...step.peers];
  return {
    ...latest,
    measures: { ...latest.measures, ...pick(own.measures, step.measures) },
    peers: { ...latest.peers, ...pick(own.peers, step.peers) },
    spread: { ...drop(latest.spread), ...own.spread },
    reasons: { ...drop(latest.reasons), ...pick(own.reasons, names) },
    steps: { ...latest.steps, [step.name]: own.at },
    series: { ...latest.series, ...own.series },
  };
}

/** Collects figures. What is promised and never noted ends as null. */
export class Results {
  readonly #measures = new Map<string, number | null>();
  readonly #peers = new Map<string, number | null>();
  readonly #spread = new Map<string, Spread>();
  readonly #reasons = new Map<string, string>();
  readonly #series = new Map<string, [number, number][]>();

  /** Promises figures: null, for this reason, until they are noted. */
  promise(
    kind: "measures" | "peers",
    names: readonly string[],
    reason: string,
  ): void {
    for (const name of names) {
      this.#of(kind).set(name, null);
      this.#reasons.set(name, reason);
    }
  }

  /** Says why what was promised of these could not be noted. */
  explain(names: readonly string[], reason: string): void {
    for (const name of names) {
      if (this.#reasons.has(name)) this.#reasons.set(name, reason);
    }
  }

  /** Notes one of this project's figures. */
  measure(name: string, value: number): void {
    this.#note("measures", name, value);
  }

  /** Notes a peer's figure. */
  peer(name: string, value: number): void {
    this.#note("peers", name, value);
  }

  /** Notes the median of some timings, and their spread. */
  timings(
    kind: "measures" | "peers",
    name: string,
    values: readonly number[],
  ): void {
    const spread = spreadOf(values);
    if (!spread) return;
    this.#spread.set(name, spread);
    this.#note(kind, name, spread.median);
  }

  /** Adds a point to a series. */
  point(series: string, x: number, y: number): void {
    const points = this.#series.get(series) ?? [];
    points.push([round(x), round(y)]);
    this.#series.set(series, points);
  }

  report(machine: string, at: string, quick: boolean): Report {
    return {
      machine,
      at,
      quick,
      measures: Object.fromEntries(this.#measures),
      peers: Object.fromEntries(this.#peers),
      spread: Object.fromEntries(this.#spread),
      reasons: Object.fromEntries(this.#reasons),
      series: Object.fromEntries(this.#series),
    };
  }

  #of(kind: "measures" | "peers"): Map<string, number | null> {
    return kind === "measures" ? this.#measures : this.#peers;
  }

  #note(kind: "measures" | "peers", name: string, value: number): void {
    if (!Number.isFinite(value)) return;
    this.#of(kind).set(name, round(value));
    this.#reasons.delete(name);
  }
}
