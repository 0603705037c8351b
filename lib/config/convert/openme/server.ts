/**
 * openme's server configuration -> ours: the schema of 0.7.0 and later, with
 * `ports`, and that of 0.4.0 and before, with `defaults`.
 * @module
 */

import { publicKeyOf } from "../../../dialects/crypto/curve25519.ts";
import { parseOpenmeKey } from "../../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../../dialects/openme/open.ts";
import { formatBase64 } from "../../../values/bytes.ts";
import {
  containsPorts,
  formatPortRange,
  onePort,
  type PortRange,
  withoutPorts,
} from "../../../values/ports.ts";
import { isMapping } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { MAX_SECONDS, parseTime } from "../../../values/time.ts";
import { type Foreign, parsePort, readForeign } from "../../../values/yaml.ts";
import { NAME } from "../../shape.ts";
import {
  type Basics,
  type ConvertedClient,
  type Groups,
  MAX_SKEW,
  OPENME_KEY_FILE,
  writeConverted,
} from "./write.ts";

const DEFAULT_GROUP = "default";
const DEFAULT_TIMEOUT = 30;
const DEFAULT_WINDOW = 60;

/** Our configuration, and what has to be known about it. */
export interface OpenmeConversion {
  /** The text of `server.yaml`, without secrets. */
  readonly text: string;
  /** Settings that were not converted, or need review; one line each, no secrets. */
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
    const drops = readTruth(server, "drop_ports", false);
    const opensKnock = readTruth(server, "open_knock_port", true);
    const groups = readGroups(root);
    const enrolled = readClients(root, groups, warnings);
    const clients = withoutTwins(enrolled, warnings);
    if (!port || !seconds || !window || !backend || !key) return undefined;
    const basics = { port, seconds, window, backend, drops };
    const services = nameServices(
      groups,
      drops ? inlineOf(root) : [],
      port,
      warnings,
    );
    warn(server, key, basics, opensKnock, warnings);
    const written = writeConverted(
      basics,
      services,
      nameClients(clients, services, warnings),
    );
    const files = new Map([[OPENME_KEY_FILE, `${formatBase64(key)}\n`]]);
    return { text: written, warnings, files };
  });
}

/** A client, with its groups by openme's names. */
interface Enrolled {
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
function readGroups(root: Foreign): Map<string, readonly PortRange[]> {
  const groups = new Map<string, readonly PortRange[]>();
  const defaults = root.section("defaults");
  if (defaults.has("ports")) {
    groups.set(DEFAULT_GROUP, readSpecs(defaults, "ports"));
  } else if (root.has("ports") || !root.keys.includes("ports")) {
    groups.set(DEFAULT_GROUP, BUILT_IN);
  }
  const ports = root.section("ports");
  for (const group of ports.keys) groups.set(group, readSpecs(ports, group));
  return groups;
}

function readClients(
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
    if (isGroupName(text)) {
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
    (text) => MODES.includes(text) ? text : null,
    { fallback: "default" },
  );
  const extra = mode === "default" || !old.has("ports")
    ? []
    : readSpecs(old, "ports");
  return { groups: mode === "only" ? [] : [DEFAULT_GROUP], ports: extra };
}

/** A word with "/" or "-", and a number, is a port to openme, never a group. */
function isGroupName(text: string): boolean {
  return text !== "" && !/[/-]/.test(text) && !/^\d+$/.test(text);
}

function readSpecs(foreign: Foreign, key: string): PortRange[] {
  const value = foreign.raw(key) ?? [];
  return (Array.isArray(value) ? value : [value]).flatMap((entry) => {
    const ranges = parseSpec(entry);
    if (ranges) return ranges;
    foreign.wrong(
      key,
      `must be ports such as 22/tcp, got ${formatJson(entry)}`,
    );
    return [];
  });
}

/** Reads true or false, also by the words of YAML 1.1 that openme takes. */
function readTruth(
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
function inlineOf(root: Foreign): PortRange[] {
  const clients = root.section("clients");
  return clients.keys.flatMap((name) => {
    const allowed = clients.section(name).raw("allowed_ports");
    const { ports = [] } = isMapping(allowed) ? allowed : { ports: allowed };
    return [ports].flat().flatMap((entry) => parseSpec(entry) ?? []);
  });
}

/** Of clients with one key the first stays. */
function withoutTwins(
  clients: readonly Enrolled[],
  warnings: string[],
): Enrolled[] {
  return clients.filter((client, index) => {
    const key = formatBase64(client.key);
    const first = clients.find((other) => formatBase64(other.key) === key)!;
    if (first === client || clients.indexOf(first) >= index) return true;
    warnings.push(
      `clients.${client.name} is left out: it has the key of ` +
        `clients.${first.name}, and openme took either of the two by chance`,
    );
    return false;
  });
}

/** Services by the names that our configuration takes, and of openme's groups. */
interface Services extends Groups {
  /** The service that a group became; undefined for one without ports. */
  readonly of: (group: string) => string | undefined;
}

function nameServices(
  groups: Groups,
  inline: readonly PortRange[],
  port: number,
  warnings: string[],
): Services {
  const names = new Names(warnings);
  const services = new Map<string, readonly PortRange[]>();
  const own = new Map<string, string>();
  const knock: PortRange = onePort("udp", port);
  const add = (name: string, ranges: readonly PortRange[]) => {
    const left = ranges.flatMap((range) => withoutPorts(range, [knock]));
    if (left.length > 0) services.set(name, left);
    return left.length > 0;
  };
  for (const [group, ranges] of groups) {
    const name = names.of(`ports.${group}`, group);
    if (add(name, ranges)) own.set(group, name);
  }
  const taken = [...groups.values()].flat();
  for (const range of inline) {
    if (taken.some((other) => containsPorts(other, range))) continue;
    taken.push(range);
    const text = formatPortRange(range).replace("/", "-");
    add(names.of(text, `port-${text}`, false), [range]);
  }
  return Object.assign(services, { of: (group: string) => own.get(group) });
}

function nameClients(
  clients: readonly Enrolled[],
  services: Services,
  warnings: string[],
): ConvertedClient[] {
  const names = new Names(warnings);
  return clients.map(({ name, key, groups, ports, expires }) => ({
    name: names.of(`clients.${name}`, name),
    key,
    open: [
      ...groups.flatMap((group) => services.of(group) ?? []),
      ...ports.map(formatPortRange),
    ],
    expires,
  }));
}

function warn(
  server: Foreign,
  key: Uint8Array,
  { port, backend, drops, window, seconds }: Basics,
  opensKnock: boolean,
  warnings: string[],
): void {
  const publicKey = server.raw("public_key");
  if (publicKey !== undefined && publicKey !== formatBase64(publicKeyOf(key))) {
    warnings.push("server.public_key does not belong to server.private_key");
  }
  const insert = backend === "nft"
    ? "nft insert rule inet filter input"
    : "iptables -I INPUT";
  if (drops) {
    warnings.push(
      `server.drop_ports was on, so firewall.mode is guard, which closes the ` +
        `ports and opens none that the host's own rules drop: on a host with ` +
        `INPUT DROP, set it to accept`,
      `connections outlive their grant in mode guard; openme's drop rules ` +
        `ended them, unless a rule before let established ones pass`,
    );
  } else {
    warnings.push(
      `server.drop_ports was off, so firewall.mode is accept: other rules ` +
        `close the ports, as before; where none do, they are open to all` +
        (backend === "nft"
          ? `. Have the host's chain lead to ours, which openme did: nft add ` +
            `chain inet filter knock; ${insert} jump knock`
          : ""),
    );
  }
  if (opensKnock) {
    const rule = backend === "nft"
      ? `udp dport ${port} accept`
      : `-p udp --dport ${port} -j ACCEPT (and ip6tables)`;
    warnings.push(
      `openme let udp/${port} in through the host's firewall; this server ` +
        `does not: where the host's rules drop it, ${insert} ${rule}`,
    );
  }
  if (window > MAX_SKEW) {
    warnings.push(
      `server.replay_window is longer than a day: max_skew is 1d, and packets ` +
        `with an older time stamp are refused`,
    );
  }
  for (const name of ["knock_timeout", "replay_window"] as const) {
    const written = server.raw(name);
    const whole = name === "knock_timeout" ? seconds : window;
    if (written !== undefined && goSeconds(String(written)) !== whole) {
      warnings.push(`server.${name} is rounded to ${whole}s`);
    }
  }
  warnings.push(
    `the health port is not opened: \`openme status\` finds it closed`,
    `a knock that names another address than its source is refused: a client ` +
      `that does it (openme knock --ip) needs any_address: true`,
  );
  if (server.has("interface")) {
    warnings.push(
      `server.interface has no counterpart: ports are closed and opened on ` +
        `every interface but lo`,
    );
  }
  if (server.has("default_profile")) {
    warnings.push("server.default_profile has no counterpart");
  }
}

/** Names as our configuration takes them, each once. */
class Names {
  readonly #warnings: string[];
  readonly #taken = new Set<string>();

  constructor(warnings: string[]) {
    this.#warnings = warnings;
  }

  /** The name that something gets; a warning where it is another. */
  of(path: string, name: string, tell = true): string {
    const plain = NAME.pattern.test(name)
      ? name
      : `x${name.replace(/[^A-Za-z0-9._-]/g, "-")}`.slice(0, MAX_NAME);
    let own = plain;
    for (let nth = 2; this.#taken.has(own); nth++) own = `${plain}-${nth}`;
    this.#taken.add(own);
    if (own !== name && tell) {
      this.#warnings.push(`${path} is called "${own}" now`);
    }
    return own;
  }
}

/** Leaves room for a number behind. */
const MAX_NAME = 60;
const BUILT_IN: readonly PortRange[] = [
  onePort("tcp", 22),
];
const MODES = ["default", "default_plus", "only"];
const KEY = "a key of 32 bytes in base64";
const DURATION = "a duration such as 30s or 1m0s";

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
  const protocols = match[3] === undefined
    ? ["tcp", "udp"] as const
    : [match[3].toLowerCase() as "tcp" | "udp"];
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
