/** First inputs of targets: texts as bytes, files, a moment. */

import { readdirSync, readFileSync } from "node:fs";
import type { Dialect } from "../../../lib/dialects/dialect.ts";
import { sceneAt } from "../../fakes/packets.ts";

export const NOW_MS = 1_790_000_000_000;
export const scene = sceneAt(NOW_MS);

export const ascii = (text: string) => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const CORPUS = new URL("../corpus/", import.meta.url);

/** All files of a folder, by their names. */
export function files(folder: URL): Uint8Array[] {
  return readdirSync(folder).sort().map((name) =>
    new Uint8Array(readFileSync(new URL(name, folder)))
  );
}

/** The samples of a folder of fuzz/corpus. */
export function corpus(name: string): Uint8Array[] {
  return files(new URL(`${name}/`, CORPUS));
}

/** Opens a packet of a dialect as a server does. */
export function open(dialect: Dialect): (bytes: Uint8Array) => void {
  return (bytes) => {
    dialect.recognises(bytes);
    dialect.open(bytes, scene);
  };
}
