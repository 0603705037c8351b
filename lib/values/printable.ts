/** Text of others, as it may be shown. */

/** Control characters, and those by which text breaks the line or runs the other way. */
const UNSAFE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Writes characters that would do something to a log or a terminal as `\u{1b}`. */
export function escapeUnsafe(text: string): string {
  return text.replace(
    UNSAFE,
    (character) =>
      `\\u{${character.codePointAt(0)!.toString(16).padStart(2, "0")}}`,
  );
}
