/** The commands and files of docs/fleet.md, for the tests that run them. */

import { readFileSync } from "node:fs";

/** The fenced blocks of a section of docs/fleet.md, with the addresses and the prefix of a stage. */
export function blocksOf(section: string): string[] {
  const path = new URL("../../docs/fleet.md", import.meta.url);
  const [, rest] = readFileSync(path, "utf8").split(`\n## ${section}\n`);
  const [text] = rest!.split("\n## ");
  return [...text!.matchAll(/^```\w*\n([^`]*)^```$/gm)].map(([, block]) =>
    block!.replaceAll("10.0.0.", "10.79.0.")
      .replaceAll("knock/home", "knock/test")
  );
}
