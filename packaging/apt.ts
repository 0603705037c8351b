/**
 * Makes a repository for apt of the packages in dist/: `deno task apt`, which
 * writes dist/apt/. With `--key ID` gpg signs it; without, apt has to be told
 * that it is trusted. It needs no tool of Debian's.
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { releaseSeconds } from "./release.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SUITE = "stable";
const PART = "main";
const MACHINES = ["amd64", "arm64"];
const POOL = "pool";

const decoder = new TextDecoder();
const sha256 = (bytes: Uint8Array | string) =>
  createHash("sha256").update(bytes).digest("hex");

/** Reads a member of an ar archive, as in deb(5). Throws where it is missing. */
export function readMember(archive: Uint8Array, wanted: string): Uint8Array {
  for (let at = 8; at + 60 <= archive.length;) {
    const header = decoder.decode(archive.subarray(at, at + 60));
    const size = Number(header.slice(48, 58));
    const from = at + 60;
    if (header.slice(0, 16).trim() === wanted) {
      return archive.subarray(from, from + size);
    }
    at = from + size + size % 2;
  }
  throw new Error(`no ${wanted} in the package`);
}

/** Reads the text of a file in a tar archive. Throws where it is missing. */
export function readTarFile(tar: Uint8Array, wanted: string): string {
  for (let at = 0; at + 512 <= tar.length;) {
    const field = (from: number, size: number) =>
      decoder.decode(tar.subarray(at + from, at + from + size))
        .replace(/\0.*$/, "");
    const size = parseInt(field(124, 12), 8) || 0;
    if (field(0, 100) === wanted) {
      return decoder.decode(tar.subarray(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error(`no ${wanted} in the archive`);
}

/** Writes a package's paragraph of Packages; `path` is from the repository's folder. */
export function formatParagraph(deb: Uint8Array, path: string): string {
  const tar = new Uint8Array(gunzipSync(readMember(deb, "control.tar.gz")));
  const control = readTarFile(tar, "./control").trimEnd();
  return `${control}
Filename: ${path}
Size: ${deb.length}
SHA256: ${sha256(deb)}
`;
}

/** Writes Release, of the index files by their path in the suite's folder. */
export function formatRelease(
  files: ReadonlyMap<string, Uint8Array>,
  seconds: number,
): string {
  const sums = [...files].map(([path, bytes]) =>
    ` ${sha256(bytes)} ${bytes.length} ${path}\n`
  );
  return `Origin: knock
Label: knock
Suite: ${SUITE}
Codename: ${SUITE}
Date: ${new Date(seconds * 1000).toUTCString().replace("GMT", "+0000")}
Architectures: ${MACHINES.join(" ")}
Components: ${PART}
SHA256:
${sums.join("")}`;
}

/** Makes the repository in a folder, of the packages in another one. */
function makeRepository(from: string, folder: string, key?: string): void {
  const debs = readdirSync(from).filter((name) => name.endsWith(".deb")).sort();
  if (debs.length === 0) {
    throw new Error(`${from} has no package: deno task dist`);
  }
  const suite = join(folder, "dists", SUITE);
  mkdirSync(join(folder, POOL), { recursive: true });
  for (const name of debs) {
    copyFileSync(join(from, name), join(folder, POOL, name));
  }
  const files = new Map<string, Uint8Array>();
  for (const machine of MACHINES) {
    const text = debs.filter((name) => name.endsWith(`_${machine}.deb`))
      .map((name) => {
        const deb = new Uint8Array(readFileSync(join(from, name)));
        return formatParagraph(deb, `${POOL}/${name}`);
      }).join("\n");
    const bytes = new TextEncoder().encode(text);
    const path = `${PART}/binary-${machine}/Packages`;
    files.set(path, bytes);
    files.set(`${path}.gz`, new Uint8Array(gzipSync(bytes, { level: 9 })));
  }
  for (const [path, bytes] of files) {
    mkdirSync(join(suite, path, ".."), { recursive: true });
    writeFileSync(join(suite, path), bytes);
  }
  const release = join(suite, "Release");
  writeFileSync(release, formatRelease(files, releaseSeconds(ROOT)));
  if (key === undefined) return;
  for (
    const [how, name] of [["--clearsign", "InRelease"], ["-ab", "Release.gpg"]]
  ) {
    const args = ["--batch", "--yes", "-u", key, "-o", join(suite, name!)];
    const { status, stderr } = spawnSync("gpg", [...args, how!, release], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`gpg: ${stderr}`);
  }
}

if (import.meta.main) {
  const { from, out, key } = parseArgs(process.argv.slice(2), {
    string: ["from", "out", "key"],
  });
  const dist = from ?? join(ROOT, "dist");
  makeRepository(dist, out ?? join(dist, "apt"), key);
}
