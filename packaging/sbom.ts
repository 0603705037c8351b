/**
 * Writes dist/sbom.cdx.json, a CycloneDX 1.6 bill of materials of what is in
 * the program, from deno.lock: `deno task sbom`.
 * @module
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { VERSION } from "../lib/values/program.ts";
import { releaseSeconds } from "./release.ts";

/** The licences of the packages, as SPDX calls them; a test reads them from the packages. */
export const LICENCES: Readonly<Record<string, string>> = {
  "@cfworker/json-schema": "MIT",
  "@nats-io/nats-core": "Apache-2.0",
  "@nats-io/nkeys": "Apache-2.0",
  "@nats-io/nuid": "Apache-2.0",
  "@nats-io/transport-node": "Apache-2.0",
  "@noble/ciphers": "MIT",
  "@puppeteer/browsers": "Apache-2.0",
  "ansi-regex": "MIT",
  "ansi-styles": "MIT",
  "chromium-bidi": "Apache-2.0",
  "cliui": "ISC",
  "deno-std": "MIT",
  "devtools-protocol": "BSD-3-Clause",
  "emoji-regex": "MIT",
  "escalade": "MIT",
  "fast-check": "MIT",
  "get-caller-file": "ISC",
  "get-east-asian-width": "MIT",
  "mitt": "MIT",
  "modern-tar": "MIT",
  "puppeteer-core": "Apache-2.0",
  "pure-rand": "MIT",
  "string-width": "MIT",
  "strip-ansi": "MIT",
  "tweetnacl": "Unlicense",
  "typed-query-selector": "MIT",
  "uqr": "MIT",
  "webdriver-bidi-protocol": "Apache-2.0",
  "wrap-ansi": "MIT",
  "ws": "MIT",
  "y18n": "ISC",
  "yargs": "MIT",
  "yargs-parser": "ISC",
  "zod": "MIT",
};

/** Packages in deno.lock. */
export interface Lock {
  readonly npm: Readonly<
    Record<string, { integrity: string; dependencies?: readonly string[] }>
  >;
}

/** Packages in package.json. */
export interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** The bill, of the packages in the program and not those of the tests. */
export function formatSbom(
  lock: Lock,
  manifest: Manifest,
  seconds: number,
): string {
  const refs = partsOf(lock, Object.keys(manifest.dependencies));
  const components = refs.map((ref) => {
    const { name, version } = splitRef(ref);
    const sha512 = atob(lock.npm[ref]!.integrity.replace("sha512-", ""));
    const hex = [...sha512].map((char) =>
      char.charCodeAt(0).toString(16).padStart(2, "0")
    ).join("");
    return {
      type: "library",
      "bom-ref": purlOf(name, version),
      name,
      version,
      purl: purlOf(name, version),
      licenses: [{ license: { id: LICENCES[name] } }],
      hashes: [{ alg: "SHA-512", content: hex }],
    };
  });
  const own = `pkg:generic/knock@${VERSION}`;
  const bill = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(seconds * 1000).toISOString().replace(".000", ""),
      component: {
        type: "application",
        "bom-ref": own,
        name: "knock",
        version: VERSION,
        licenses: [{ license: { id: "MIT" } }],
      },
    },
    components,
    dependencies: [
      { ref: own, dependsOn: components.map(({ purl }) => purl) },
      ...components.map(({ purl }) => ({ ref: purl, dependsOn: [] })),
    ],
  };
  return `${JSON.stringify(bill, null, 2)}\n`;
}

/** "NAME@VERSION" of these packages and all that they depend on. */
export function partsOf(lock: Lock, names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    const ref = Object.keys(lock.npm).find((ref) =>
      splitRef(ref).name === name || ref === name
    );
    if (ref === undefined) throw new Error(`deno.lock has no "${name}"`);
    if (found.has(ref)) return;
    found.add(ref);
    lock.npm[ref]!.dependencies?.forEach(visit);
  };
  names.forEach(visit);
  return [...found].sort();
}

/** The two parts of "@scope/name@1.0.0", without the peers that may follow after "_". */
export function splitRef(ref: string): { name: string; version: string } {
  const [, name, version] = /^(.[^@]*)@([^_]+)/.exec(ref)!;
  return { name: name!, version: version! };
}

function purlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

if (import.meta.main) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const read = (name: string) =>
    JSON.parse(readFileSync(join(root, name), "utf8"));
  mkdirSync(join(root, "dist"), { recursive: true });
  writeFileSync(
    join(root, "dist/sbom.cdx.json"),
    formatSbom(read("deno.lock"), read("package.json"), releaseSeconds(root)),
  );
}
