/**
 * access.conf as clients of ours: its stanzas with the files that they
 * include, and what each may open, for whom and for how long.
 * @module
 */

import {
  formatPortRange,
  type PortRange,
  withoutPorts,
} from "../../../values/ports.ts";
import { NAME } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { scalar } from "../../../values/yaml.ts";
import { convertKeys, convertServerGpg, KEY_KEYWORDS } from "./keys.ts";
import {
  ALL_PORTS,
  convertPorts,
  type Directive,
  isYes,
  keywords,
  leadingNumber,
  type Notes,
  readNetwork,
  Settings,
  settle,
  type Stanza,
} from "./lines.ts";

/** The longest that fwknopd starts with, seconds. */
const MAX_TIMEOUT = 2 << 22;

/** The last moment that our configuration can express. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** Converts stanzas; each client is an entry of our YAML, from column 0 on. */
export function convertAccess(
  stanzas: readonly Stanza[],
  gpgHome: string | null,
  warnings: string[],
): string[] {
  const clients: Converted[] = [];
  const names = new Set<string>();
  // Key that identifies a client, and the client; null: one that is not converted.
  const owners = new Map<string, Converted | null>();
  for (const stanza of stanzas) {
    const { where } = stanza[0]!;
    const values = settle(stanza, warnings);
    const settings = new Settings(values, warnings, `${where}: the stanza`);
    settings.nameTheRest(CONVERTED, NOTES, isIdle);
    const keys = convertKeys(settings, convertServerGpg(settings, gpgHome));
    if (!keys) continue;
    const { mark } = keys;
    const warnOfAll = ({ name }: Converted) => {
      if (settings.has("OPEN_PORTS")) return;
      warnings.push(
        `${where}: "${name}" has no OPEN_PORTS and may open every port, ` +
          `as with fwknopd: name the ports that it needs`,
      );
    };
    const owner = mark === null ? undefined : owners.get(mark);
    const client = convertStanza(settings, keys.entries);
    if (owner === undefined) {
      if (mark !== null) owners.set(mark, client);
      if (!client) continue;
      client.name = nameOf(settings, names);
      clients.push(client);
      warnOfAll(client);
    } else if (
      client && owner && client.keys === owner.keys &&
      client.policy === owner.policy
    ) {
      warnOfAll(owner);
      owner.open = [...new Set([...owner.open, ...client.open])];
      warnings.push(
        `${where}: has the keys of "${owner.name}", and is made one with it: ` +
          `it may ask for ports of both at once`,
      );
    } else {
      // In fwknopd the first stanza that does not refuse decides.
      owners.set(mark!, null);
      warnings.push(
        `${where}: left out: an earlier stanza has its keys, and the keys ` +
          `tell here who knocks: give each its own, on both sides`,
      );
    }
  }
  return clients.map(({ name, open, keys, policy }) =>
    `${scalar(name)}:\n  ${keys}\n  open: [${open.join(", ")}]\n${policy}`
  );
}

interface Converted {
  name: string;
  readonly keys: string;
  /** The lines of its entry but for those. */
  readonly policy: string;
  open: readonly string[];
}

/** A stanza as a client without a name yet; null, and a warning, if it cannot be one. */
function convertStanza(
  settings: Settings,
  keys: readonly string[],
): Converted | null {
  for (const [known, words] of OTHER_STANZAS) {
    const other = [...settings.values.values()].find((directive) =>
      known.test(directive.keyword) && !isOff(directive)
    );
    if (other) return settings.warn(other, words);
  }
  const from = convertSource(settings);
  const open = convertOpen(settings);
  if (!from || !open) return null;
  const user = settings.get("REQUIRE_USERNAME");
  const own = settings.last("REQUIRE_SOURCE_ADDRESS", "REQUIRE_SOURCE");
  const lines = [
    ...convertTimes(settings),
    from,
    ...isYes(own) ? ["require_address: true"] : [],
    ...convertExpiry(settings),
  ];
  const named = user ? [`require_username: ${formatJson(user.value)}`] : [];
  return {
    name: "",
    keys: `fwknop: { ${[...keys, ...named].join(", ")} }`,
    open: open.map(formatPortRange),
    policy: lines.map((line) => `  ${line}\n`).join(""),
  };
}

/** Stanzas that do something else than to open ports of this machine. */
const OTHER_STANZAS: Notes = [
  [
    /^CMD_CYCLE_OPEN$/,
    "the stanza is left out: it runs commands and opens no port; see " +
    '"hooks", or the firewall backend "command"',
  ],
  [
    /^(FORCE_NAT|FORCE_SNAT|FORCE_MASQUERADE)$/,
    "the stanza is left out: it leads to another host and opens no port of " +
    "this one, and the iptables backend does not forward; with backend nft, " +
    'write a service with "listen" and "to", and let the client open it',
  ],
];

/** The user that a stanza wants, or a number. */
function nameOf(settings: Settings, names: Set<string>): string {
  const user = settings.get("REQUIRE_USERNAME")?.value ?? "";
  // Names that are made of it must be names, too.
  const fits = NAME.pattern.test(user) && user.length <= 32;
  let name = fits ? user : `client${names.size + 1}`;
  while (names.has(name)) name += "-2";
  names.add(name);
  return name;
}

/** Converts the ports that a client may open; null: a restriction cannot be read. */
function convertOpen(settings: Settings): readonly PortRange[] | null {
  const { warnings } = settings;
  const listed = settings.get("OPEN_PORTS");
  const restricted = settings.get("RESTRICT_PORTS");
  const ports = listed ? convertPorts(listed, warnings) : ALL_PORTS;
  if (!restricted) return ports;
  const before = warnings.length;
  const away = convertPorts(restricted, warnings);
  if (away.length < restricted.value.split(",").length) {
    // A port that is not restricted any more would be open to ask for.
    warnings.length = before;
    const words = "cannot be read, and the stanza is left out";
    return settings.warn(restricted, words);
  }
  return ports.flatMap((range) => withoutPorts(range, away));
}

function convertTimes(settings: Settings): string[] {
  const seconds = (keyword: string, otherwise: number) => {
    const directive = settings.get(keyword);
    if (!directive) return otherwise;
    const { value } = directive;
    const number = leadingNumber(value);
    if (number >= 1 && number <= MAX_TIMEOUT) return number;
    if (!/^\s*0/.test(value)) {
      settings.warn(directive, `"${value}" is taken for ${otherwise}`);
    }
    return otherwise;
  };
  const own = seconds("FW_ACCESS_TIMEOUT", 30);
  const most = seconds("MAX_FW_TIMEOUT", 300);
  if (own > most) {
    const at = settings.get("FW_ACCESS_TIMEOUT") ??
      settings.get("MAX_FW_TIMEOUT")!;
    settings.warn(
      { ...at, keyword: "FW_ACCESS_TIMEOUT" },
      `${own}s is what a client may ask for, too: ` +
        `fwknopd gives at most ${most}s (MAX_FW_TIMEOUT) to one that asks`,
    );
  }
  return [`for: ${own}s`, `max_for: ${Math.max(own, most)}s`];
}

/** fwknopd compares where the packet comes from; we, whom it opens for. */
function convertSource(settings: Settings): string | null {
  const source = settings.get("SOURCE")!;
  const entries = source.value.split(",").map((text) => text.trim());
  if (entries.some((entry) => entry.toUpperCase() === "ANY")) {
    return "any_address: true";
  }
  const good = entries.flatMap((entry) =>
    readNetwork(entry) ?? settings.warn(source, `"${entry}" is left out`) ?? []
  );
  // No address must not become any address.
  if (good.length === 0) {
    return settings.warn(source, "the stanza is left out");
  }
  settings.warn(
    source,
    `limits here whom the packet opens for, and that must be where it comes ` +
      `from ("any_address: true" would allow another)`,
  );
  return `from: [${good.map(scalar).join(", ")}]`;
}

function convertExpiry(settings: Settings): string[] {
  const directive = settings.last("ACCESS_EXPIRE", "ACCESS_EXPIRE_EPOCH");
  if (!directive) return [];
  const { keyword, value } = directive;
  const epoch = keyword === "ACCESS_EXPIRE_EPOCH";
  const ms = epoch ? readEpoch(value) : readDay(value);
  if (ms === 0) return [];
  if (ms === null) {
    // An end that cannot be read must not become no end.
    const words = `"${value}" is no time: the client is made expired`;
    settings.warn(directive, words);
    return ["expires: 1970-01-01T00:00:00Z"];
  }
  if (!epoch) {
    const day = new Date(ms).toISOString().slice(0, 10);
    settings.warn(
      directive,
      `taken as the midnight UTC that begins ${day}; fwknopd takes the host's ` +
        `own time`,
    );
  }
  const end = new Date(Math.min(ms, LAST_MS)).toISOString();
  return [`expires: ${end.replace(".000", "")}`];
}

/** 0: never. */
function readEpoch(value: string): number | null {
  const seconds = /^\s*\+?(\d{1,12})(?!\d)/.exec(value)?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}

/** As sscanf("%2d/%2d/%4d") and mktime() read it, in UTC. */
function readDay(value: string): number | null {
  const match = /^\s*(\d{1,2})\/\s*(\d{1,2})\/\s*(\d{1,4})/.exec(value);
  if (!match) return null;
  const [month = 0, day, year = 0] = match.slice(1).map(Number);
  // Years from 100 to 1900 are far beyond there.
  const full = year > 1900 ? year : year < 100 ? year + 2000 : year + 1900;
  const ms = Date.UTC(full, Math.max(month - 1, 0), day);
  return ms > 0 ? ms : null;
}

/** Keywords that are converted, or reported where they stand. */
const CONVERTED = KEY_KEYWORDS.union(keywords(`
  SOURCE REQUIRE_SOURCE REQUIRE_SOURCE_ADDRESS ACCESS_EXPIRE
  ACCESS_EXPIRE_EPOCH OPEN_PORTS RESTRICT_PORTS FW_ACCESS_TIMEOUT MAX_FW_TIMEOUT
  REQUIRE_USERNAME CMD_CYCLE_OPEN FORCE_NAT FORCE_SNAT FORCE_MASQUERADE`));

/** Keywords that are not converted, and what to do about them. */
const NOTES: Notes = [
  [
    /^DESTINATION$/,
    "not converted: packets to every address of the machine count",
  ],
  [/^(FORWARD_ALL|DISABLE_DNAT)$/, "not converted: there is no gateway mode"],
  [
    /^(ENABLE_CMD|CMD_EXEC|CMD_SUDO)/,
    'not converted: name each command under "commands" and in the client\'s ' +
    '"run"',
  ],
  [/^CMD_CYCLE/, "not converted: it belongs to CMD_CYCLE_OPEN"],
];

/** Keywords that change nothing unless they are Y. */
const SWITCHES = keywords(`
  ENABLE_CMD_EXEC ENABLE_CMD_SUDO_EXEC FORCE_MASQUERADE FORWARD_ALL DISABLE_DNAT`);

function isOff(directive: Directive): boolean {
  return SWITCHES.has(directive.keyword) && !isYes(directive);
}

/** True for a line that changes nothing. */
function isIdle(directive: Directive): boolean {
  const { keyword, value } = directive;
  return isOff(directive) ||
    keyword === "DESTINATION" && value.toUpperCase() === "ANY";
}
