/**
 * Sequences as one tree of hits: those that begin alike share its branches,
 * and where a source is in it says all about its progress.
 * @module
 */

import {
  formatHit,
  type Hit,
  type Sequence,
} from "../../../sequences/sequence.ts";

/** A hit that was made in the right order; the root is none. */
export interface Node {
  /** 1, 2, … */
  readonly id: number;
  readonly hit: Hit;
  /** Null behind the root: a first hit. */
  readonly parent: Node | null;
  /** Count of the hits up to here, this one included. */
  readonly depth: number;
  /** True if there are hits behind it. */
  readonly isInner: boolean;
  /** Sequences that are complete here. */
  readonly complete: readonly Sequence[];
  /** The times that sequences through here may take, ms, each once, longest first. */
  readonly withinMs: readonly number[];
}

/** The nodes of some sequences, parents before their children. */
export function growTree(sequences: readonly Sequence[]): Node[] {
  const found = new Map<string, Growing>();
  for (const sequence of sequences) {
    let parent: Growing | null = null;
    for (const hit of sequence.hits) {
      const key: string = `${parent?.id ?? 0} ${formatHit(hit)}`;
      const node: Growing = found.get(key) ?? {
        id: found.size + 1,
        hit,
        parent,
        depth: (parent?.depth ?? 0) + 1,
        isInner: false,
        complete: [],
        withinMs: [],
      };
      found.set(key, node);
      if (parent) parent.isInner = true;
      if (!node.withinMs.includes(sequence.withinMs)) {
        node.withinMs.push(sequence.withinMs);
        node.withinMs.sort((a, b) => b - a);
      }
      parent = node;
    }
    parent?.complete.push(sequence);
  }
  return [...found.values()];
}

interface Growing extends Node {
  readonly parent: Growing | null;
  isInner: boolean;
  readonly complete: Sequence[];
  readonly withinMs: number[];
}
