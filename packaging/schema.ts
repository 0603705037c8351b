/**
 * Writes the JSON Schemas of `server.yaml` and `profiles.yaml` into docs/:
 * `deno task schema`. They are made of what the program reads the files with;
 * what holds between keys only the program judges.
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROFILES } from "../lib/client/profile/profile.ts";
import { serverSchema } from "../lib/config/shape.ts";

const DIALECT = "https://json-schema.org/draft/2020-12/schema";

/** The text of each schema by its file's name. */
export function formatSchemas(): ReadonlyMap<string, string> {
  const files = [
    ["server.schema.json", "knock: server.yaml", serverSchema.json],
    ["profiles.schema.json", "knock: profiles.yaml", PROFILES.json],
  ] as const;
  return new Map(files.map(([name, title, json]) => [
    name,
    `${JSON.stringify({ $schema: DIALECT, title, ...json }, null, 2)}\n`,
  ]));
}

if (import.meta.main) {
  const docs = fileURLToPath(new URL("../docs/", import.meta.url));
  for (const [name, text] of formatSchemas()) {
    writeFileSync(join(docs, name), text);
  }
}
