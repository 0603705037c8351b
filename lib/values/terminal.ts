/** What is laid out for people: tables. */

import { escapeUnsafe } from "./text.ts";

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
