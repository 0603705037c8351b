/** The Debian package, deb(5), made without root and without dpkg. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { VERSION } from "../lib/values/program.ts";
import { type Entry, formatAr, formatTar } from "./archive.ts";
import { formatManual } from "./man.ts";
import { formatCompletions, UNITS } from "./share.ts";

const encoder = new TextEncoder();
const PLAIN = 0o644;
const PROGRAM = 0o755;

/** Names of machines in Debian. */
export type Machine = "amd64" | "arm64";

/** Parts of a package. */
export interface Package {
  readonly machine: Machine;
  readonly binary: Uint8Array;
  /** Seconds since 1970, for every date in it. */
  readonly seconds: number;
}

/** Writes the package; `root` is the folder of the sources. */
export async function formatDeb(
  root: string,
  { machine, binary, seconds }: Package,
): Promise<Uint8Array> {
  const files = await listFiles(root, binary, seconds);
  const own = (name: string) =>
    readFileSync(join(root, "packaging/debian", name), "utf8");
  const kilobytes = files.reduce(
    (sum, { data }) => sum + Math.ceil((data?.length ?? 0) / 1024),
    0,
  );
  const control = own("control")
    .replace("VERSION", VERSION)
    .replace("MACHINE", machine)
    .replace("KILOBYTES", String(kilobytes));
  const sums = files.map(({ path, data }) =>
    `${createHash("md5").update(data!).digest("hex")}  ${path}\n`
  );
  const about: Entry[] = [
    file("control", control),
    file("md5sums", sums.join("")),
    ...["postinst", "prerm", "postrm"].map((name) =>
      file(name, own(name), PROGRAM)
    ),
  ];
  const tar = (entries: readonly Entry[]) =>
    new Uint8Array(gzipSync(formatTar(entries, seconds), { level: 9 }));
  return formatAr([
    file("debian-binary", "2.0\n"),
    { path: "control.tar.gz", mode: PLAIN, data: tar(about) },
    { path: "data.tar.gz", mode: PLAIN, data: tar(files) },
  ], seconds);
}

async function listFiles(
  root: string,
  binary: Uint8Array,
  seconds: number,
): Promise<Entry[]> {
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  const { bash, zsh, fish } = await formatCompletions();
  const date = new Date(seconds * 1000);
  const manual = await formatManual(date.toISOString().slice(0, 10));
  const doc = "usr/share/doc/knock";
  return [
    { path: "usr/bin/knock", mode: PROGRAM, data: binary },
    ...UNITS.map((name) =>
      file(`usr/lib/systemd/system/${name}`, read(`packaging/systemd/${name}`))
    ),
    file(
      "usr/lib/sysusers.d/knock.conf",
      read("packaging/systemd/sysusers.conf"),
    ),
    ...[...manual].map(([name, page]) =>
      zipped(`usr/share/man/man${name.at(-1)}/${name}`, page)
    ),
    file("usr/share/bash-completion/completions/knock", bash),
    file("usr/share/zsh/vendor-completions/_knock", zsh),
    file("usr/share/fish/vendor_completions.d/knock.fish", fish),
    file(
      "usr/share/lintian/overrides/knock",
      read("packaging/debian/overrides"),
    ),
    file(`${doc}/copyright`, read("packaging/debian/copyright")),
    zipped(`${doc}/changelog`, read("CHANGELOG.md")),
    zipped(`${doc}/changelog.Debian`, debianChangelog(date)),
    file(`${doc}/xdp.conf`, read("packaging/systemd/xdp.conf")),
    file(`${doc}/README.Debian`, read("packaging/debian/README.Debian")),
    ...["README.md", "SECURITY.md"].map((name) =>
      file(`${doc}/${name}`, read(name))
    ),
    ...readdirSync(join(root, "docs"))
      .filter((name) => /\.(md|svg|png|yaml|json)$/.test(name))
      .map((name) => ({
        path: `${doc}/docs/${name}`,
        mode: PLAIN,
        data: new Uint8Array(readFileSync(join(root, "docs", name))),
      })),
    file(`${doc}/server.schema.json`, read("docs/server.schema.json")),
    file(`${doc}/profiles.schema.json`, read("docs/profiles.schema.json")),
    file(`${doc}/examples/server.yaml`, read("packaging/server.yaml")),
  ].sort((a, b) => a.path < b.path ? -1 : 1);
}

function debianChangelog(date: Date): string {
  const stamp = date.toUTCString().replace("GMT", "+0000");
  return `knock (${VERSION}) unstable; urgency=medium

  * Release ${VERSION}; see changelog.gz for what is new.

 -- knock <knock@localhost>  ${stamp}
`;
}

function file(path: string, text: string, mode = PLAIN): Entry {
  return { path, mode, data: encoder.encode(text) };
}

function zipped(path: string, text: string): Entry {
  const data = new Uint8Array(gzipSync(text, { level: 9 }));
  return { path: `${path}.gz`, mode: PLAIN, data };
}
