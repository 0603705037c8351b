/** Lock, manifests and documents agree on the packages that the program is made of. */

import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  formatSbom,
  LICENCES,
  type Lock,
  type Manifest,
  partsOf,
  splitRef,
} from "../../packaging/sbom.ts";
import { runtime } from "../fakes/runtime.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const read = (name: string) => runtime.files.readText(join(ROOT, name));

const lock = JSON.parse(read("deno.lock")) as Lock;
const manifest = JSON.parse(read("package.json")) as Manifest;
const imports = JSON.parse(read("deno.json")).imports as Record<string, string>;

test("deno.json and package.json name the same versions", () => {
  const named = new Map(
    Object.values(imports).map((target) => {
      const [, name, version] = /^npm:((?:@[^/]+\/)?[^@/]+)@([^/]+)/.exec(
        target,
      )!;
      return [name!, version!];
    }),
  );
  assertEquals(Object.fromEntries([...named].sort()), {
    ...manifest.dependencies,
    ...manifest.devDependencies,
  });
});

test("deno.lock and bun.lock lock the same packages by the same hashes", () => {
  const bun = read("bun.lock");
  for (const [ref, { integrity }] of Object.entries(lock.npm)) {
    const { name, version } = splitRef(ref);
    assertStringIncludes(bun, `"${name}@${version}"`);
    assertStringIncludes(bun, integrity);
  }
  assertEquals(
    new Set(bun.match(/sha512-[^"]+/g)).size,
    Object.keys(lock.npm).length,
  );
});

test("LICENCES are what the packages say", () => {
  for (const ref of Object.keys(lock.npm)) {
    const { name, version } = splitRef(ref);
    // Deno's layout of node_modules has all of them; Bun's has them on top.
    const paths = [
      `node_modules/${name}/package.json`,
      `node_modules/.deno/${
        name.replace("/", "+")
      }@${version}/node_modules/${name}/package.json`,
    ].map((path) => join(ROOT, path));
    const path = paths.find((path) => runtime.files.stat(path));
    assert(path, ref);
    const { license } = JSON.parse(runtime.files.readText(path!));
    assertEquals(LICENCES[name], license, ref);
  }
});

test("docs/dependencies.md tells of every package and its licence", () => {
  const document = read("docs/dependencies.md");
  for (const ref of Object.keys(lock.npm)) {
    const { name, version } = splitRef(ref);
    assertStringIncludes(document, `\`${name}\``);
    assertStringIncludes(document, version);
  }
});

test("partsOf() goes down to what a package depends on", () => {
  assertEquals(partsOf(lock, ["fast-check"]).map((ref) => splitRef(ref).name), [
    "fast-check",
    "pure-rand",
  ]);
});

test("formatSbom() tells of the program's packages alone", () => {
  const bill = JSON.parse(formatSbom(lock, manifest, 1_767_225_600));
  assertEquals(bill.metadata.timestamp, "2026-01-01T00:00:00Z");
  assertEquals(
    bill.components.map(({ name }: { name: string }) => name),
    // The first of them with what it stands on.
    [
      "@nats-io/nats-core",
      "@nats-io/nkeys",
      "@nats-io/nuid",
      ...Object.keys(manifest.dependencies),
      "tweetnacl",
    ].sort(),
  );
  for (const { purl, hashes, licenses } of bill.components) {
    assert(/^pkg:npm\/(%40[\w-]+\/)?[\w-]+@[\d.]+$/.test(purl), purl);
    assertEquals(hashes[0].content.length, 128);
    assert(licenses[0].license.id);
  }
});
