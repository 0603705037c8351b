/** The text of a `server.yaml` that openme's configuration becomes. */

import { formatBase64 } from "../../../values/bytes.ts";
import { formatPortRange, type PortRange } from "../../../values/ports.ts";
import { formatJson } from "../../../values/text.ts";
import { formatDuration } from "../../../values/time.ts";
import { scalar } from "../../../values/yaml.ts";

/** The file that the converted configuration names for the server's key. */
export const OPENME_KEY_FILE = "openme.key";

/** Longest `max_for` that our configurations give by default. */
const MAX_FOR = 8 * 3600;
/** Longest `max_skew` that our configuration takes, in seconds. */
export const MAX_SKEW = 86400;

/** A client of openme's. */
export interface ConvertedClient {
  readonly name: string;
  readonly key: Uint8Array;
  readonly open: readonly string[];
  /** As it was written. */
  readonly expires: string | null;
}

/** Groups of ports by name: our services. */
export type Groups = ReadonlyMap<string, readonly PortRange[]>;

/** Settings of the file besides its clients; durations are seconds. */
export interface Basics {
  readonly port: number;
  readonly seconds: number;
  readonly window: number;
  readonly backend: string;
  /** True if openme closed the ports itself. */
  readonly drops: boolean;
}

/** Writes the configuration. */
export function writeConverted(
  { port, seconds, window, backend, drops }: Basics,
  groups: Groups,
  clients: readonly ConvertedClient[],
): string {
  const services = [...groups].filter(([, ports]) => ports.length > 0)
    .map(([name, ports]) =>
      `  ${scalar(name)}: [${ports.map(formatPortRange).join(", ")}]\n`
    );
  const most = formatDuration(Math.max(seconds, MAX_FOR));
  return `# Converted from openme's configuration; "knock check" validates it.

listen: [${port}]
key: server.key
max_skew: ${formatDuration(Math.min(window, MAX_SKEW))}
openme: { key: ${OPENME_KEY_FILE} }

firewall:
  backend: ${backend}
  mode: ${drops ? "guard" : "accept"}

services:${services.length === 0 ? " {}" : ""}
${services.join("")}
defaults: { for: ${formatDuration(seconds)}, max_for: ${most} }

clients:${clients.length === 0 ? " {}" : ""}
${clients.map(writeClient).join("")}`;
}

function writeClient({ name, key, open, expires }: ConvertedClient): string {
  return `  ${scalar(name)}:
    openme: { key: ${formatJson(formatBase64(key))} }
    open: [${open.map(scalar).join(", ")}]
` + (expires === null ? "" : `    expires: ${expires}\n`);
}
