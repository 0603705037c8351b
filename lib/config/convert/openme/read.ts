/** Reading openme's server configuration: groups, clients, ports and durations. */

import { parseOpenmeKey } from "../../../dialects/openme/keys.ts";
import {
  onePort,
  type PortRange,
  type Protocol,
} from "../../../values/ports.ts";
import { isMapping } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { MAX_SECONDS, parseTime } from "../../../values/time.ts";
import { type Foreign, parsePort } from "../../../values/yaml.ts";

const DEFAULT_GROUP = "default";
/** Words about a key and a duration. */
export const KEY = "a key of 32 bytes in base64";
export const DURATION = "a duration such as 30s or 1m0s";

/** Groups of ports by name: our services. */
export type Groups = ReadonlyMap<string, readonly PortRange[]>;

/** A client, with its groups by openme's names. */
export interface Enrolled {
  readonly name: string;
  readonly key: Uint8Array;
  readonly groups: readonly string[];
  readonly ports: readonly PortRange[];
  readonly expires: string | null;
}

/**
 * Groups of ports. The group `default` is built in: where the file names none,
 * it is SSH; and the older schema has it under `defaults`.
 */
export function readGroups(root: Foreign): Map<string, readonly PortRange[]> {
  const groups = new Map<string, readonly PortRange[]>();
  const defaults = root.section("defaults");
  if (defaults.has("ports")) {
    groups.set(DEFAULT_GROUP, readSpecs(defaults, "ports"));
  } else if (root.has("ports") || !root.keys.includes("ports")) {
    groups.set(DEFAULT_GROUP, [onePort("tcp", 22)]);
  }
  const ports = root.section("ports");
  for (const group of ports.keys) groups.set(group, readSpecs(ports, group));
  return groups;
}

/** Reads the clients; one that openme leaves out is left out, with a warning. */
export function readClients(
  root: Foreign,
  groups: Groups,
  warnings: string[],
): Enrolled[] {
  const clients = root.section("clients");
  return clients.keys.flatMap((name): Enrolled[] => {
    const client = clients.section(name);
    const key = client.value("ed25519_pubkey", KEY, parseOpenmeKey);
    const expires = client.value(
      "expires",
      "a time such as 2027-01-01T00:00:00Z",
      (text) => parseTime(text) === null ? null : text,
      { fallback: null },
    );
    const allowed = readAllowed(client, groups);
    if (!key || expires === undefined) return [];
    if ("unknown" in allowed) {
      warnings.push(
        `clients.${name} is left out, as openme left it out: ` +
          `${formatJson(allowed.unknown)} is no group and no port`,
      );
      return [];
    }
    return [{ name, key, ...allowed, expires }];
  });
}

/** Reads the ports that a client may open, or the first entry that openme does not know. */
function readAllowed(
  client: Foreign,
  groups: Groups,
): Pick<Enrolled, "groups" | "ports"> | { readonly unknown: unknown } {
  const allowed = client.raw("allowed_ports");
  if (isMapping(allowed)) return readOlderAllowed(client);
  const entries = [allowed ?? []].flat();
  const names: string[] = [];
  const ports: PortRange[] = [];
  for (const entry of entries.length > 0 ? entries : [DEFAULT_GROUP]) {
    const text = String(entry).trim();
    // A word with "/" or "-", and a number, is a port to openme, never a group.
    if (/^[^/-]+$/.test(text) && !/^\d+$/.test(text)) {
      if (groups.has(text)) names.push(text);
      else if (text !== DEFAULT_GROUP) return { unknown: entry };
      continue;
    }
    const ranges = isMapping(entry) ? null : parseSpec(entry);
    if (!ranges) return { unknown: entry };
    ports.push(...ranges);
  }
  return { groups: names, ports };
}

/** The schema of 0.4.0 and before: a mode, and ports. */
function readOlderAllowed(client: Foreign): Pick<Enrolled, "groups" | "ports"> {
  const old = client.section("allowed_ports");
  const mode = old.value(
    "mode",
    `"default", "default_plus" or "only"`,
    (text) => ["default", "default_plus", "only"].includes(text) ? text : null,
    { fallback: "default" },
  );
  const extra = mode === "default" || !old.has("ports")
    ? []
    : readSpecs(old, "ports");
  return { groups: mode === "only" ? [] : [DEFAULT_GROUP], ports: extra };
}

function readSpecs(foreign: Foreign, key: string): PortRange[] {
  const value = foreign.raw(key) ?? [];
  return (Array.isArray(value) ? value : [value]).flatMap((entry) => {
    const ranges = parseSpec(entry);
    if (ranges) return ranges;
    const got = formatJson(entry);
    foreign.wrong(key, `must be ports such as 22/tcp, got ${got}`);
    return [];
  });
}

/** Reads true or false, also by the words of YAML 1.1 that openme takes. */
export function readTruth(
  foreign: Foreign,
  key: string,
  fallback: boolean,
): boolean {
  const value = foreign.raw(key);
  if (value === undefined) return fallback;
  if (/^(true|y|yes|on)$/i.test(String(value))) return true;
  if (/^(false|n|no|off)$/i.test(String(value))) return false;
  foreign.wrong(key, `must be true or false, got ${formatJson(value)}`);
  return fallback;
}

/** Every port that a client names itself: with drop_ports, openme hid them. */
export function inlineOf(root: Foreign): PortRange[] {
  const clients = root.section("clients");
  return clients.keys.flatMap((name) => {
    const allowed = clients.section(name).raw("allowed_ports");
    const { ports = [] } = isMapping(allowed) ? allowed : { ports: allowed };
    return [ports].flat().flatMap((entry) => parseSpec(entry) ?? []);
  });
}

// Ports and durations as openme's configuration writes them.

const UNITS: Readonly<Record<string, number>> = {
  h: 3600,
  m: 60,
  s: 1,
  ms: 1e-3,
  us: 1e-6,
  "\u00b5s": 1e-6,
  "\u03bcs": 1e-6,
  ns: 1e-9,
};
const PART = /(\d+\.?\d*|\.\d+)(h|ms|[u\u00b5\u03bc]s|ns|m|s)/g;

/**
 * Reads `22/tcp`, `80` (both protocols), `8080-8090/udp`, or the older
 * `{port, proto}`; null if it is none.
 */
export function parseSpec(entry: unknown): PortRange[] | null {
  if (isMapping(entry)) {
    return parseSpec(`${entry.port}/${entry.proto ?? "tcp"}`);
  }
  const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp))?$/i
    .exec(String(entry).trim());
  const first = match && parsePort(match[1]!);
  const last = match && parsePort(match[2] ?? match[1]!);
  if (!first || !last || last < first) return null;
  const protocols = match[3]
    ? [match[3].toLowerCase() as Protocol]
    : ["tcp", "udp"] as const;
  return protocols.map((protocol) => ({ protocol, first, last }));
}

/** Reads a duration of Go, `30s` or `1h30m0s`, in seconds; null if it is none. */
export function goSeconds(text: string): number | null {
  const plain = text.replace(/^\+/, "");
  if (plain === "" || plain.replace(PART, "") !== "") return null;
  let seconds = 0;
  for (const [, value, unit] of plain.matchAll(PART)) {
    seconds += Number(value) * UNITS[unit!]!;
  }
  return seconds;
}

/**
 * Reads a duration of Go in whole seconds, rounded down but to at least one;
 * null for none, and for nothing at all, with which openme opens nothing.
 */
export function parseGoDuration(text: string): number | null {
  const seconds = goSeconds(text);
  if (!seconds || seconds > MAX_SECONDS) return null;
  return Math.max(1, Math.floor(seconds));
}
