/** What the rules of sequences log, and how it is read again. Pure. */

import type { Sequence, SequenceAction } from "../../../sequences/sequence.ts";

/** A completed sequence, as the kernel tells of it. */
export interface Told {
  readonly action: SequenceAction;
  readonly name: string;
}

/** Reads what a rule has logged; null when it is none of ours. */
export function readTold(prefix: string): Told | null {
  const match = /^knock (open|close) ([\w.-]+)$/.exec(prefix);
  return match && {
    action: match[1] as SequenceAction,
    name: match[2]!,
  };
}

/** What a rule logs when a sequence is complete. */
export function toldPrefix({ action, name }: Sequence): string {
  return `knock ${action} ${name}`;
}
