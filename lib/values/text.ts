/**
 * Text on its way to a terminal. Names, arguments, files, the state and the
 * other end's replies may hold characters that move the cursor, change colours
 * or reorder a line; none of them leaves as it is.
 * @module
 */

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
      [...Array(character.length).keys()].map((at) =>
        `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`
      ).join(""),
  );
}

function escape(character: string): string {
  const code = character.codePointAt(0)!.toString(16).padStart(2, "0");
  return `\\u{${code}}`;
}
