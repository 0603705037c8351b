/** The input and the output of every converter, and the writer of the `server.yaml` that they make. */

import { formatDuration } from "../../values/time.ts";
import { section } from "../files/write.ts";

/** Our configuration, and what did not go into it. */
export interface Converted {
  /** The text of its file; it may hold secrets: mode 0600. */
  readonly text: string;
  /** Settings that were not converted, or need review; one line each, no secrets. */
  readonly warnings: readonly string[];
  /** Files with secrets that the text names, beside it, by name. */
  readonly files: ReadonlyMap<string, string>;
  /** Name of its file. Default server.yaml. */
  readonly name?: string;
}

/** Files that the tool's own configuration names. */
export interface Includes {
  /** Null if it cannot be read. */
  readonly read: (path: string) => string | null;
  /** The names in a folder, without the folder; null if it cannot be read. */
  readonly list: (path: string) => readonly string[] | null;
}

/** Longest `max_for` that our configurations give by default, seconds. */
const MAX_FOR = 8 * 3600;

/** Parts of a `server.yaml`; entries are lines of block YAML from column 0 on. */
interface ServerParts {
  /** Comments at its top. */
  readonly head: string;
  /** As YAML has it. */
  readonly listen: string;
  /** Lines for the top, besides `listen` and `key`. */
  readonly settings?: readonly string[];
  /** Lines under `firewall`. */
  readonly firewall: string;
  readonly services: readonly string[];
  /** Absent: there is no such section. */
  readonly sequences?: readonly string[];
  /** Length of a grant by default; absent: as ours. */
  readonly seconds?: number;
  readonly clients: readonly string[];
}

/** Writes the `server.yaml` that another tool's configuration becomes. */
export function formatServer(parts: ServerParts): string {
  const { head, listen, settings = [], firewall, sequences, seconds } = parts;
  const most = formatDuration(Math.max(seconds ?? 0, MAX_FOR));
  const sections = [
    head,
    [`listen: [${listen}]`, "key: server.key", ...settings].join("\n"),
    section("firewall", [firewall]),
    section("services", parts.services),
    ...sequences ? [section("sequences", sequences)] : [],
    ...seconds === undefined
      ? []
      : [`defaults: { for: ${formatDuration(seconds)}, max_for: ${most} }`],
    section("clients", parts.clients),
  ];
  return `${sections.map((text) => text.trimEnd()).join("\n\n")}\n`;
}
