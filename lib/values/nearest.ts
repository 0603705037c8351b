/** The nearest of some words, for hints. */

import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** A hint that names the nearest of some words; undefined when none is near. */
export function nearest(
  word: string,
  known: readonly string[],
  prefix = "",
): string | undefined {
  if (word.length > MAX_WORD) return undefined;
  const [found] = known.map((other) => ({ other, slips: slips(word, other) }))
    // More than half of the letters changed is another word, not a slip.
    .filter(({ other, slips }) =>
      slips * 2 <= Math.max(word.length, 2) &&
      slips < Math.max(word.length, other.length)
    )
    // Of two as near, the one that was only cut short.
    .sort((a, b) =>
      a.slips - b.slips ||
      Number(b.other.startsWith(word)) - Number(a.other.startsWith(word))
    );
  return found && `did you mean "${prefix}${found.other}"?`;
}

function slips(word: string, other: string): number {
  const letters = (text: string) => [...text].sort().join("");
  // Letters in another order are one slip, not the two that the distance sees.
  return word !== other && letters(word) === letters(other)
    ? 1
    : levenshteinDistance(word, other);
}

// Longer than any word of ours; the distance takes its square in time.
const MAX_WORD = 100;
