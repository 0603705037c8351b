/**
 * Ranges of ports that overlap, made into pieces that do not: a set of
 * intervals cannot hold two that share a port. Pure.
 * @module
 */

import type { PortRange } from "./ports.ts";

/** A range of ports, open until a moment. */
export interface Segment extends PortRange {
  /** Unix milliseconds. */
  readonly untilMs: number;
}

/**
 * Cuts ranges so that no port is in two pieces and each port keeps the latest
 * end of all ranges that held it; neighbours of the same end are one piece.
 * In order of protocol and port.
 */
export function cutSegments(ranges: readonly Segment[]): Segment[] {
  const pieces: Segment[] = [];
  for (const protocol of ["tcp", "udp"] as const) {
    const own = ranges.filter((range) => range.protocol === protocol);
    const edges = [
      ...new Set(own.flatMap(({ first, last }) => [first, last + 1])),
    ]
      .sort((a, b) => a - b);
    for (const [index, first] of edges.entries()) {
      const last = (edges[index + 1] ?? first) - 1;
      const over = own.filter((range) =>
        range.first <= first && last <= range.last
      );
      if (last < first || over.length === 0) continue;
      const untilMs = Math.max(...over.map((range) => range.untilMs));
      const before = pieces.at(-1);
      if (
        before?.protocol === protocol && before.last + 1 === first &&
        before.untilMs === untilMs
      ) {
        pieces[pieces.length - 1] = { ...before, last };
      } else {
        pieces.push({ protocol, first, last, untilMs });
      }
    }
  }
  return pieces;
}

/** Whether two pieces are the same ports and the same end. */
export function sameSegment(a: Segment, b: Segment): boolean {
  return a.protocol === b.protocol && a.first === b.first &&
    a.last === b.last && a.untilMs === b.untilMs;
}

/** Merges ranges that overlap or touch; in order of protocol and port. */
export function mergePorts(ports: readonly PortRange[]): PortRange[] {
  const sorted = [...ports].sort((a, b) =>
    a.protocol < b.protocol
      ? -1
      : a.protocol > b.protocol
      ? 1
      : a.first - b.first
  );
  const merged: PortRange[] = [];
  for (const range of sorted) {
    const before = merged.at(-1);
    if (
      before?.protocol === range.protocol && range.first <= before.last + 1
    ) {
      const last = Math.max(before.last, range.last);
      merged[merged.length - 1] = { ...before, last };
    } else {
      merged.push(range);
    }
  }
  return merged;
}
