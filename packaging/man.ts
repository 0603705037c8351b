/**
 * Writes the manual pages into dist/man (or the folder that is given): `deno
 * task man`. knock(1) is made of the help texts, knock-server.yaml(5) of
 * docs/configuration.md.
 * @module
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { formatHelpPage } from "./man/help_page.ts";
import { formatMarkdownPage } from "./man/markdown_page.ts";
import { releaseDate } from "./release.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** The pages by file name. The date is `YYYY-MM-DD`. */
export async function formatManual(
  date: string,
): Promise<ReadonlyMap<string, string>> {
  const markdown = readFileSync(join(ROOT, "docs/configuration.md"), "utf8");
  return new Map([
    ["knock.1", await formatHelpPage(date)],
    [
      "knock-server.yaml.5",
      formatMarkdownPage(
        "knock-server.yaml",
        5,
        date,
        "the configuration of knock",
        markdown,
        [".Xr knock 1"],
      ),
    ],
  ]);
}

async function main(): Promise<void> {
  const folder = process.argv[2] ?? join(ROOT, "dist/man");
  mkdirSync(folder, { recursive: true });
  for (const [name, page] of await formatManual(releaseDate(ROOT))) {
    writeFileSync(join(folder, name), page);
  }
}

if (import.meta.main) await main();
