/** Files of a release besides the binaries, the packages and the scripts: a row each. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PAGE, WORKER } from "../lib/commands/tools/page_html.ts";
import { formatTar } from "./archive.ts";
import { formatManual } from "./man.ts";
import { releaseDate, releaseSeconds } from "./release.ts";
import { formatSbom, type Lock, type Manifest } from "./sbom.ts";
import { formatCompletions, listShared } from "./share.ts";

/** A file of dist/. */
export interface ReleaseFile {
  /** Path in dist/. */
  readonly path: string;
  /** Maker of its bytes; `root` is the folder of the sources. */
  readonly make: (root: string) => Promise<string | Uint8Array>;
  readonly isProgram?: boolean;
}

const read = (root: string, path: string) =>
  readFileSync(join(root, path), "utf8");

const manual = (name: string): ReleaseFile => ({
  path: `man/${name}`,
  make: async (root) => (await formatManual(releaseDate(root))).get(name)!,
});

const completion = (
  shell: "bash" | "zsh" | "fish",
  name: string,
): ReleaseFile => ({
  path: `completions/${name}`,
  make: async () => (await formatCompletions())[shell],
});

/** Every such file. */
export const FILES: readonly ReleaseFile[] = [
  {
    path: "install.sh",
    make: (root) => Promise.resolve(read(root, "install.sh")),
    isProgram: true,
  },
  { path: "knock.html", make: () => Promise.resolve(PAGE) },
  { path: "knock-worker.js", make: () => Promise.resolve(WORKER) },
  manual("knock.1"),
  manual("knock-server.yaml.5"),
  completion("bash", "knock.bash"),
  completion("zsh", "_knock"),
  completion("fish", "knock.fish"),
  {
    path: "knock-share.tar.gz",
    make: async (root) => {
      const entries = await listShared(root, releaseDate(root));
      const tar = formatTar(entries, releaseSeconds(root));
      return new Uint8Array(gzipSync(tar, { level: 9 }));
    },
  },
  {
    path: "sbom.cdx.json",
    make: (root) => {
      const lock = JSON.parse(read(root, "deno.lock")) as Lock;
      const manifest = JSON.parse(read(root, "package.json")) as Manifest;
      return Promise.resolve(formatSbom(lock, manifest, releaseSeconds(root)));
    },
  },
];
