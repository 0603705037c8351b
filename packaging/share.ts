/** Files beside the program: manual pages, completions, units, the schemas and an example. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatBash } from "../lib/commands/completion/bash.ts";
import { formatFish } from "../lib/commands/completion/fish.ts";
import { readCommandWords } from "../lib/commands/completion/words.ts";
import { formatZsh } from "../lib/commands/completion/zsh.ts";
import { COMMANDS } from "../lib/commands/table.ts";
import type { Entry } from "./archive.ts";
import { formatManual } from "./man.ts";

const encoder = new TextEncoder();

/** Units of systemd, with the name of the user that the service runs as. */
export const UNITS = ["knock.service", "knock-guard.service"] as const;

/** Completions by shell, each as a text. */
export async function formatCompletions() {
  const words = await readCommandWords(COMMANDS);
  return {
    bash: formatBash(words),
    zsh: formatZsh(words),
    fish: formatFish(words),
  };
}

/**
 * Files of `knock-share.tar.gz`, which `install.sh` unpacks under a prefix such
 * as /usr/local; `date` is that of the manual pages, `YYYY-MM-DD`.
 */
export async function listShared(root: string, date: string): Promise<Entry[]> {
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  const { bash, zsh, fish } = await formatCompletions();
  const texts: [path: string, text: string][] = [
    ...[...await formatManual(date)].map(([name, page]): [string, string] => [
      `share/man/man${name.at(-1)}/${name}`,
      page,
    ]),
    ["share/bash-completion/completions/knock", bash],
    ["share/zsh/site-functions/_knock", zsh],
    ["share/fish/vendor_completions.d/knock.fish", fish],
    ["share/doc/knock/server.schema.json", read("docs/server.schema.json")],
    ["share/doc/knock/profiles.schema.json", read("docs/profiles.schema.json")],
    ["share/doc/knock/server.yaml", read("packaging/server.yaml")],
    ["share/doc/knock/LICENSE", read("LICENSE")],
    ["share/doc/knock/xdp.conf", read("packaging/systemd/xdp.conf")],
    ...UNITS.map((name): [string, string] => [
      `lib/systemd/system/${name}`,
      read(`packaging/systemd/${name}`),
    ]),
    ["lib/sysusers.d/knock.conf", read("packaging/systemd/sysusers.conf")],
  ];
  return texts.map(([path, text]) => ({
    path,
    mode: 0o644,
    data: encoder.encode(text),
  }));
}
