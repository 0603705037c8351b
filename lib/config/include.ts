/** Clients in files of their own, `clients.d/*.yaml` beside the configuration. */

import { at, isMapping, type Mistake, show } from "../values/schema.ts";
import { parseYaml } from "../values/yaml.ts";

/** Folder beside the configuration whose files hold more clients. */
export const CLIENTS_FOLDER = "clients.d";

/** One of these files. */
export interface IncludedFile {
  readonly file: string;
  readonly text: string;
}

/** Configuration with the clients of other files. */
interface Included {
  /** Value of the whole, to be read as one file's. */
  readonly raw: unknown;
  /** Files of the included clients, by client. */
  readonly origins: ReadonlyMap<string, string>;
}

/**
 * Adds the clients of other files to a configuration's value. A file that
 * cannot be used, or has a client that is there already, is noted.
 */
export function includeClients(
  raw: unknown,
  files: readonly IncludedFile[],
  mistakes: Mistake[],
): Included {
  const origins = new Map<string, string>();
  const clients = isMapping(raw) ? raw.clients ?? {} : null;
  if (files.length === 0 || !isMapping(clients)) return { raw, origins };
  const all: Record<string, unknown> = { ...clients };
  for (const { file, text } of files) {
    const read = parseYaml(text);
    const own = read.ok ? clientsIn(read.value) : null;
    if (!read.ok) mistakes.push({ ...read.mistake, file });
    else if (!own) {
      const found = `must be a mapping of clients, got ${show(read.value)}`;
      mistakes.push({ path: "", text: found, file });
    }
    for (const [name, client] of Object.entries(own ?? {})) {
      if (Object.hasOwn(all, name)) {
        const other = origins.get(name) ?? "the configuration itself";
        mistakes.push({
          path: at("clients", name),
          text: `must be a client of its own, got one as in ${other}`,
          file,
        });
      } else {
        all[name] = client;
        origins.set(name, file);
      }
    }
  }
  return { raw: { ...raw as object, clients: all }, origins };
}

/** Clients of such a file: under `clients:`, or the whole of it; null if it is none. */
function clientsIn(value: unknown): Record<string, unknown> | null {
  if (value === null || value === undefined) return {};
  if (!isMapping(value)) return null;
  const names = Object.keys(value);
  if (names.length !== 1 || names[0] !== "clients") return value;
  return value.clients === null
    ? {}
    : isMapping(value.clients)
    ? value.clients
    : null;
}

/** The mistakes, those of included clients with the file that they are in. */
export function inTheirFiles(
  mistakes: readonly Mistake[],
  origins: ReadonlyMap<string, string>,
): Mistake[] {
  return mistakes.map((mistake) => {
    const [, file] = [...origins].find(([name]) => {
      const own = at("clients", name);
      return mistake.path === own || mistake.path.startsWith(`${own}.`);
    }) ?? [];
    return file === undefined ? mistake : { file, ...mistake };
  });
}
