/**
 * openme's server configuration -> ours: the schema of 0.7.0 and later, with
 * `ports`, and that of 0.4.0 and before, with `defaults`.
 * @module
 */

import { OPENME_PORT } from "../../dialects/openme.ts";
import { parseOpenmeKey } from "../../dialects/openme_keys.ts";
import { publicKeyOf } from "../../dialects/x25519.ts";
import { formatBase64 } from "../../values/base64.ts";
import { formatPortRange, type PortRange } from "../../values/ports.ts";
import { isMapping } from "../mistake.ts";
import { NAME } from "../shapes.ts";
import { parseTime } from "../time.ts";
import { type Foreign, parsePort, readForeign } from "./foreign.ts";
import { parseGoDuration, parseSpec } from "./openme_values.ts";
import {
  type Client,
  type Groups,
  OPENME_KEY_FILE,
  writeConverted,
} from "./openme_write.ts";

const DEFAULT_GROUP = "default";
const DEFAULT_TIMEOUT = 30;
const DEFAULT_WINDOW = 60;

/** Our configuration, and what has to be known about it. */
export interface OpenmeConversion {
  /** The text of `server.yaml`, without secrets. */
  readonly text: string;
  /** What was not carried over, or wants a look; one line each, no secrets. */
  readonly warnings: readonly string[];
  /** Files with secrets that the configuration names, by name: mode 0600, beside it. */
  readonly files: ReadonlyMap<string, string>;
}

/** Converts a server configuration. Throws ConfigError with every mistake. */
export function convertOpenme(text: string, file: string): OpenmeConversion {
  return readForeign(text, file, (root) => {
    const warnings: string[] = [];
    const server = root.section("server");
    const port = server.value("udp_port", "1 to 65535", parsePort, {
      fallback: OPENME_PORT,
    });
    const seconds = server.value("knock_timeout", DURATION, parseGoDuration, {
      fallback: DEFAULT_TIMEOUT,
    });
    const window = server.value("replay_window", DURATION, parseGoDuration, {
      fallback: DEFAULT_WINDOW,
    });
    const backend = server.value(
      "firewall",
      `"nft" or "iptables"`,
      (text) => text === "nft" || text === "iptables" ? text : null,
      { fallback: "nft" },
    );
    const key = server.value("private_key", KEY, parseOpenmeKey, {
      secret: true,
    });
    const names = new Names(warnings);
    const groups = readGroups(root, names);
    const clients = readClients(root, groups, names, warnings);
    if (!port || !seconds || !window || !backend || !key) return undefined;
    warn(server, key, clients, warnings);
    const text = writeConverted(
      { port, seconds, window, backend },
      groups,
      clients,
    );
    const files = new Map([[OPENME_KEY_FILE, `${formatBase64(key)}\n`]]);
    return { text, warnings, files };
  });
}

function readGroups(root: Foreign, names: Names): Groups {
  const groups = new Map<string, readonly PortRange[]>();
  const ports = root.section("ports");
  for (const group of ports.keys) {
    groups.set(names.of(`ports.${group}`, group), readSpecs(ports, group));
  }
  const defaults = root.section("defaults");
  if (defaults.has("ports") && !groups.has(DEFAULT_GROUP)) {
    groups.set(DEFAULT_GROUP, readSpecs(defaults, "ports"));
  }
  return groups;
}

function readClients(
  root: Foreign,
  groups: Groups,
  names: Names,
  warnings: string[],
): Client[] {
  const clients = root.section("clients");
  const taken = new Set<string>();
  const own = new Names(warnings);
  return clients.keys.flatMap((name): Client[] => {
    const client = clients.section(name);
    const key = client.value("ed25519_pubkey", KEY, parseOpenmeKey);
    const expires = client.value(
      "expires",
      "a time such as 2027-01-01T00:00:00Z",
      (text) => parseTime(text) === null ? null : text,
      { fallback: null },
    );
    const open = readAllowed(client, groups, names);
    if (!key || expires === undefined) return [];
    const called = own.of(`clients.${name}`, name);
    if (taken.has(called)) clients.wrong(name, "must be a name of its own");
    taken.add(called);
    for (const entry of open.filter((entry) => entry.includes("/"))) {
      warnings.push(
        `clients.${name}: ${entry} is in no group, so nothing closes it: ` +
          `name it under services where it shall be hidden`,
      );
    }
    return [{ name: called, key, open, expires }];
  });
}

/** What a client may open: names of groups, and ports. */
function readAllowed(
  client: Foreign,
  groups: Groups,
  names: Names,
): readonly string[] {
  const allowed = client.raw("allowed_ports");
  const standard = named(groups, DEFAULT_GROUP);
  if (isMapping(allowed)) {
    const old = client.section("allowed_ports");
    const mode = old.value(
      "mode",
      `"default", "default_plus" or "only"`,
      (text) => MODES.includes(text) ? text : null,
      { fallback: "default" },
    );
    const extra = mode === "default" || !old.has("ports")
      ? []
      : readSpecs(old, "ports").map(formatPortRange);
    return mode === "only" ? extra : [...standard, ...extra];
  }
  if (!client.has("allowed_ports")) return standard;
  const entries = Array.isArray(allowed) ? allowed : [allowed];
  if (entries.length === 0) return standard;
  return entries.flatMap((entry): string[] => {
    const group = names.known(String(entry).trim());
    if (group !== undefined && groups.has(group)) return named(groups, group);
    if (entry === DEFAULT_GROUP) return [];
    const ranges = parseSpec(entry);
    if (ranges) return ranges.map(formatPortRange);
    client.wrong(
      "allowed_ports",
      `must be groups and ports such as 22/tcp, got ${JSON.stringify(entry)}`,
    );
    return [];
  });
}

/** A group by its name, if it opens anything: an empty one is no service. */
function named(groups: Groups, group: string): string[] {
  return groups.get(group)?.length ? [group] : [];
}

function readSpecs(foreign: Foreign, key: string): PortRange[] {
  const value = foreign.raw(key) ?? [];
  return (Array.isArray(value) ? value : [value]).flatMap((entry) => {
    const ranges = parseSpec(entry);
    if (ranges) return ranges;
    foreign.wrong(
      key,
      `must be ports such as 22/tcp, got ${JSON.stringify(entry)}`,
    );
    return [];
  });
}

function warn(
  server: Foreign,
  key: Uint8Array,
  clients: readonly Client[],
  warnings: string[],
): void {
  const publicKey = server.raw("public_key");
  if (publicKey !== undefined && publicKey !== formatBase64(publicKeyOf(key))) {
    warnings.push("server.public_key does not belong to server.private_key");
  }
  if (server.raw("drop_ports") !== true) {
    warnings.push(
      `server.drop_ports was off, so other rules close the ports; the new ` +
        `file closes them itself: where other rules go on doing it, set ` +
        `firewall.mode to accept`,
    );
  }
  if (clients.length > 0) {
    warnings.push(
      `the health port is not opened: \`openme status\` finds it closed`,
    );
  }
  for (const gone of ["interface", "default_profile"]) {
    if (server.has(gone)) warnings.push(`server.${gone} has no counterpart`);
  }
}

/** Names as our configuration takes them. */
class Names {
  readonly #warnings: string[];
  readonly #own = new Map<string, string>();

  constructor(warnings: string[]) {
    this.#warnings = warnings;
  }

  /** The name that something gets; a warning where it is another. */
  of(path: string, name: string): string {
    const own = NAME.pattern.test(name)
      ? name
      : `x${name.replace(/[^A-Za-z0-9._-]/g, "-")}`.slice(0, 64);
    if (own !== name) this.#warnings.push(`${path} is called "${own}" now`);
    this.#own.set(name, own);
    return own;
  }

  /** What {@linkcode of} gave for a name. */
  known(name: string): string | undefined {
    return this.#own.get(name);
  }
}

const MODES = ["default", "default_plus", "only"];
const KEY = "a key of 32 bytes in base64";
const DURATION = "a duration such as 30s or 1m0s";
