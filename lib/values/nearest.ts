/** The nearest of some words, for hints. */

import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** A hint that names the nearest of some words; undefined when none is near. */
export function nearest(
  word: string,
  known: readonly string[],
  prefix = "",
): string | undefined {
  if (known.length === 0 || word.length > MAX_WORD) return undefined;
  const found = closestString(word, [...known]) as string;
  // More than half of the letters changed is another word, not a slip.
  return levenshteinDistance(word, found) * 2 <= Math.max(word.length, 2)
    ? `did you mean "${prefix}${found}"?`
    : undefined;
}

// Longer than any word of ours; the distance takes its square in time.
const MAX_WORD = 100;
