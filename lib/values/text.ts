/**
 * Text for people: counts, hints, tables, and what a terminal may be sent.
 * Names, arguments, files, the state and the other end's replies may hold
 * characters that move the cursor, change colours or reorder a line; none of
 * them leaves as it is.
 * @module
 */

import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** "1 packet", "2 packets": for nouns that take an s. */
export function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/** Identifier of some words: "refused: unknown client" becomes "refused_unknown_client". */
export function toIdentifier(words: string): string {
  return words.toLowerCase().replace(/[^a-z0-9]+/g, "_");
}

/**
 * Characters that act on a terminal or a line: controls (C0, DEL and C1),
 * format characters (bidi, zero width), line and paragraph separators, and
 * halves of surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;
/** The same, but for the newlines and tabs that lay out our own text. */
const UNSAFE_IN_LINES = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** Makes one line of a text: writes every unsafe character as `\u{1b}`. */
export function escapeUnsafe(text: string): string {
  return text.replace(UNSAFE, escape);
}

/** Escapes every unsafe character but newline and tab. All output passes here. */
export function escapeLines(text: string): string {
  return text.replace(UNSAFE_IN_LINES, escape);
}

/**
 * Writes a value as JSON, unsafe characters in it as `\u009b`; a string in
 * this form is one in double quotes of YAML, too.
 */
export function formatJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(
    UNSAFE_IN_LINES,
    (character) =>
      character.split("").map((unit) =>
        `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
      ).join(""),
  );
}

function escape(character: string): string {
  const code = character.codePointAt(0)!.toString(16).padStart(2, "0");
  return `\\u{${code}}`;
}

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

/** Longer than any word of ours; the distance takes its square in time. */
const MAX_WORD = 100;

/** Makes a line safe for a terminal, and breaks it at blanks where it is wider. A longer word stays whole. */
export function wrapLine(line: string, width: number, indent = ""): string[] {
  const lines: string[] = [];
  let rest = escapeUnsafe(line);
  while (rest.length > width) {
    const lead = lines.length === 0
      ? /^ */.exec(rest)![0].length
      : indent.length;
    let at = rest.lastIndexOf(" ", width);
    if (at <= lead) at = rest.indexOf(" ", lead + 1);
    if (at < 0) break;
    lines.push(rest.slice(0, at).trimEnd());
    rest = indent + rest.slice(at).trimStart();
  }
  return [...lines, rest];
}

/** Colours and weights of a terminal, ECMA-48. */
const STYLES = {
  bold: "1",
  dim: "2",
  red: "31",
  green: "32",
  yellow: "33",
} as const;

/** Gives a text, made safe for a terminal, a colour or a weight. */
export type Paint = (style: keyof typeof STYLES, text: string) => string;

export const coloured: Paint = (style, text) =>
  `\x1b[${STYLES[style]}m${escapeUnsafe(text)}\x1b[m`;

export const plain: Paint = (_, text) => escapeUnsafe(text);

/** Columns padded to their widest cell, a line each. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [head, ...rows].map((line) => line.map(escapeUnsafe));
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => line[column]!.length))
  );
  return lines.map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")
      .trimEnd() + "\n"
  ).join("");
}
