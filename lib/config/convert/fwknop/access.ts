/**
 * access.conf as clients of ours: its stanzas with the files that they
 * include, and what each may open, for whom and for how long.
 * @module
 */

import { formatPrefix, parsePrefix } from "../../../values/address.ts";
import {
  formatPortRange,
  type PortRange,
  withoutPorts,
} from "../../../values/ports.ts";
import { NAME } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { scalar } from "../../../values/yaml.ts";
import {
  type ConvertedKeys,
  convertKeys,
  convertServerGpg,
  formatKeys,
  GPG_KEYWORDS,
  KEY_KEYWORDS,
} from "./keys.ts";
import {
  ALL_PORTS,
  convertPorts,
  type Directive,
  type Includes,
  isYes,
  lastOf,
  leadingNumber,
  readDirectives,
  type Settings,
  settle,
  type SourceFile,
} from "./lines.ts";

/** Deepest nesting of files that include each other, as in fwknopd. */
const MAX_DEPTH = 3;

/** So that names that are made of it are still names. */
const MAX_USER_LENGTH = 32;

/** Defaults of fwknopd, seconds. */
const DEFAULT_SECONDS = 30;
const DEFAULT_MAX_SECONDS = 300;
/** The longest that fwknopd starts with, seconds. */
const MAX_TIMEOUT = 2 << 22;

/** The last moment that our configuration can express. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** The lines from one SOURCE on, and those of the key files that they name. */
type Stanza = Directive[];

/**
 * The stanzas of a file and of those that it includes, in fwknopd's order. A
 * stanza goes on behind an `%include`, whose file begins without one.
 */
export function readStanzas(
  file: SourceFile,
  includes: Includes,
  warnings: string[],
  stanzas: Stanza[] = [],
  depth = 1,
): Stanza[] {
  let stanza: Stanza | null = null;
  for (const directive of readDirectives(file, warnings, true)) {
    const { keyword, value, where } = directive;
    const cannotRead = (name: string) =>
      warnings.push(`${where}: ${keyword}: cannot read "${name}"`);
    if (keyword === "SOURCE") {
      stanza = [directive];
      stanzas.push(stanza);
    } else if (keyword === "%include" || keyword === "%include_folder") {
      if (depth >= MAX_DEPTH) {
        warnings.push(`${where}: ${keyword}: too deep, left out`);
        continue;
      }
      const names = keyword === "%include" ? [value] : folder(value, includes);
      if (!names) cannotRead(value);
      for (const name of names ?? []) {
        const text = includes.read(name);
        if (text === null) cannotRead(name);
        else {
          const next = { name, text };
          readStanzas(next, includes, warnings, stanzas, depth + 1);
        }
      }
    } else if (stanza === null) {
      warnings.push(`${where}: ${keyword}: is before any SOURCE, left out`);
    } else if (keyword === "%include_keys") {
      const text = includes.read(value);
      if (text === null) cannotRead(value);
      else stanza.push(...readKeyFile({ name: value, text }, warnings));
    } else {
      stanza.push(directive);
    }
  }
  return stanzas;
}

function folder(name: string, { list }: Includes): string[] | undefined {
  return list(name)?.filter((file) => file.endsWith(".conf")).toSorted()
    .map((file) => `${name.replace(/\/$/, "")}/${file}`);
}

/** A key file may belong to a user: fwknopd takes nothing but keys from it. */
function readKeyFile(file: SourceFile, warnings: string[]): Directive[] {
  return readDirectives(file, warnings, true).filter(({ keyword, where }) => {
    if (KEY_FILE_KEYWORDS.has(keyword)) return true;
    const words = "not a key: left out of a key file, as by fwknopd";
    warnings.push(`${where}: ${keyword}: ${words}`);
    return false;
  });
}

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
    const settings = settle(stanza, warnings);
    const { where } = stanza[0]!;
    nameTheRest(settings, warnings);
    const gpg = convertServerGpg(settings, gpgHome, warnings);
    const keys = convertKeys(settings, `${where}: the stanza`, warnings, gpg);
    if (!keys) continue;
    const mark = markOf(keys);
    const all = !settings.has("OPEN_PORTS");
    const owner = mark === null ? undefined : owners.get(mark);
    const client = convertStanza(settings, keys, warnings);
    if (owner === undefined) {
      if (mark !== null) owners.set(mark, client);
      if (!client) continue;
      clients.push(nameClient(client, settings, names));
      if (all) warnOfAll(client, where, warnings);
    } else if (client && owner && isSame(client, owner)) {
      if (all) warnOfAll(owner, where, warnings);
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

function isSame(a: Converted, b: Converted): boolean {
  return a.keys === b.keys && a.policy === b.policy;
}

const ALL: readonly string[] = ALL_PORTS.map(formatPortRange);

function markOf({ hmacKeyBase64, keyBase64, gpg }: ConvertedKeys) {
  if (hmacKeyBase64 !== null) return `hmac ${hmacKeyBase64}`;
  return gpg ? null : `key ${keyBase64}`;
}

/** A stanza as a client without a name yet; null, and a warning, if it cannot be one. */
function convertStanza(
  settings: Settings,
  keys: ConvertedKeys,
  warnings: string[],
): Converted | null {
  for (const [keywords, words] of OTHER_STANZAS) {
    const other = [...settings.values()].find(({ keyword, value }) =>
      keywords.test(keyword) && !(SWITCHES.has(keyword) && !/^y/i.test(value))
    );
    if (!other) continue;
    warnings.push(`${other.where}: ${other.keyword}: ${words}`);
    return null;
  }
  const from = convertSource(settings.get("SOURCE")!, warnings);
  const open = convertOpen(settings, warnings);
  if (!from || !open) return null;
  const user = settings.get("REQUIRE_USERNAME");
  const named = lastOf(settings, "REQUIRE_SOURCE_ADDRESS", "REQUIRE_SOURCE");
  const lines = [
    ...convertTimes(settings, warnings),
    from,
    ...isYes(named) ? ["require_address: true"] : [],
    ...convertExpiry(settings, warnings),
  ];
  return {
    name: "",
    keys: formatKeys(
      keys,
      user ? `, require_username: ${formatJson(user.value)}` : "",
    ),
    open,
    policy: lines.map((line) => `  ${line}\n`).join(""),
  };
}

/** Stanzas that do something else than to open ports of this machine. */
const OTHER_STANZAS: readonly [keywords: RegExp, words: string][] = [
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
function nameClient(
  client: Converted,
  settings: Settings,
  names: Set<string>,
): Converted {
  const user = settings.get("REQUIRE_USERNAME")?.value ?? "";
  const fits = NAME.pattern.test(user) && user.length <= MAX_USER_LENGTH;
  let name = fits ? user : `client${names.size + 1}`;
  while (names.has(name)) name += "-2";
  names.add(name);
  client.name = name;
  return client;
}

function warnOfAll({ name }: Converted, where: string, warnings: string[]) {
  warnings.push(
    `${where}: "${name}" has no OPEN_PORTS and may open every port, ` +
      `as with fwknopd: name the ports that it needs`,
  );
}

/** Converts the ports that a client may open; null: a restriction cannot be read. */
function convertOpen(
  settings: Settings,
  warnings: string[],
): readonly string[] | null {
  const listed = settings.get("OPEN_PORTS");
  const restricted = settings.get("RESTRICT_PORTS");
  if (!listed && !restricted) return ALL;
  const ports: readonly PortRange[] = listed
    ? convertPorts(listed, warnings)
    : ALL_PORTS;
  const before = warnings.length;
  const away = restricted ? convertPorts(restricted, warnings) : [];
  if (restricted && away.length < restricted.value.split(",").length) {
    // A port that is not restricted any more would be open to ask for.
    warnings.length = before;
    warnings.push(
      `${restricted.where}: RESTRICT_PORTS: cannot be read, and the stanza ` +
        `is left out`,
    );
    return null;
  }
  return ports.flatMap((range) => withoutPorts(range, away))
    .map(formatPortRange);
}

function convertTimes(settings: Settings, warnings: string[]): string[] {
  const seconds = (keyword: string, otherwise: number) => {
    const directive = settings.get(keyword);
    if (!directive) return otherwise;
    const { value, where } = directive;
    const number = leadingNumber(value);
    if (number >= 1 && number <= MAX_TIMEOUT) return number;
    if (!/^\s*0/.test(value)) {
      warnings.push(
        `${where}: ${keyword}: "${value}" is taken for ${otherwise}`,
      );
    }
    return otherwise;
  };
  const own = seconds("FW_ACCESS_TIMEOUT", DEFAULT_SECONDS);
  const most = seconds("MAX_FW_TIMEOUT", DEFAULT_MAX_SECONDS);
  if (own > most) {
    const { where } = settings.get("FW_ACCESS_TIMEOUT") ??
      settings.get("MAX_FW_TIMEOUT")!;
    warnings.push(
      `${where}: FW_ACCESS_TIMEOUT: ${own}s is what a client may ask for, too: ` +
        `fwknopd gives at most ${most}s (MAX_FW_TIMEOUT) to one that asks`,
    );
  }
  return [`for: ${own}s`, `max_for: ${Math.max(own, most)}s`];
}

/** fwknopd compares where the packet comes from; we, whom it opens for. */
function convertSource(source: Directive, warnings: string[]): string | null {
  const entries = source.value.split(",").map((text) => text.trim());
  if (entries.some((entry) => entry.toUpperCase() === "ANY")) {
    return "any_address: true";
  }
  const good = entries.flatMap((entry) => {
    const network = readNetwork(entry);
    if (network) return [network];
    warnings.push(`${source.where}: SOURCE: "${entry}" is left out`);
    return [];
  });
  // No address must not become any address.
  if (good.length === 0) {
    warnings.push(`${source.where}: SOURCE: the stanza is left out`);
    return null;
  }
  warnings.push(
    `${source.where}: SOURCE: limits here whom the packet opens for, and that ` +
      `must be where it comes from ("any_address: true" would allow another)`,
  );
  return `from: [${good.map(scalar).join(", ")}]`;
}

/** IPv4, as fwknopd: `192.0.2.1`, `192.0.2.0/24` or `192.0.2.0/255.255.255.0`. */
function readNetwork(entry: string): string | null {
  const [host, mask, ...rest] = entry.split("/");
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(host!) || rest.length > 0) return null;
  const bits = mask === undefined
    ? 32
    : /^\d{1,2}$/.test(mask)
    ? Number(mask)
    : bitsOf(mask);
  if (bits === null || bits < 1) return null;
  const prefix = parsePrefix(bits === 32 ? host! : `${host}/${bits}`);
  return prefix && formatPrefix(prefix);
}

/** Length of a mask in bits; null if they are not all in front. */
function bitsOf(mask: string): number | null {
  const address = parsePrefix(mask);
  if (!address || !/^\d+\.\d+\.\d+\.\d+$/.test(mask)) return null;
  const bits = [...address.bytes.slice(12)].map((byte) =>
    byte.toString(2).padStart(8, "0")
  ).join("");
  return /^1*0*$/.test(bits) ? bits.lastIndexOf("1") + 1 : null;
}

function convertExpiry(settings: Settings, warnings: string[]): string[] {
  const directive = lastOf(settings, "ACCESS_EXPIRE", "ACCESS_EXPIRE_EPOCH");
  if (!directive) return [];
  const { keyword, value, where } = directive;
  const epoch = keyword === "ACCESS_EXPIRE_EPOCH";
  const ms = epoch ? readEpoch(value) : readDay(value);
  if (ms === 0) return [];
  if (ms === null) {
    // An end that cannot be read must not become no end.
    warnings.push(
      `${where}: ${keyword}: "${value}" is no time: the client is made expired`,
    );
    return ["expires: 1970-01-01T00:00:00Z"];
  }
  if (!epoch) {
    const day = new Date(ms).toISOString().slice(0, 10);
    warnings.push(
      `${where}: ACCESS_EXPIRE: taken as the midnight UTC that begins ${day}; ` +
        `fwknopd takes the host's own time`,
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
  const [month, day, year] = match.slice(1).map(Number) as [
    number,
    number,
    number,
  ];
  // Years from 100 to 1900 are far beyond there.
  const full = year > 1900 ? year : year < 100 ? year + 2000 : year + 1900;
  const ms = Date.UTC(full, Math.max(month - 1, 0), day);
  return ms > 0 ? ms : null;
}

/** Keywords of a stanza that a key file may have. */
const KEY_FILE_KEYWORDS: ReadonlySet<string> = new Set([
  "KEY",
  "KEY_BASE64",
  "HMAC_KEY",
  "HMAC_KEY_BASE64",
  "GPG_DECRYPT_ID",
  "GPG_DECRYPT_PW",
  "GPG_ALLOW_NO_PW",
  "GPG_REQUIRE_SIG",
  "GPG_DISABLE_SIG",
  "GPG_IGNORE_SIG_VERIFY_ERROR",
  "GPG_REMOTE_ID",
  "GPG_FINGERPRINT_ID",
]);

/** Keywords that are converted, or reported where they stand. */
const CONVERTED: ReadonlySet<string> = new Set([
  ...KEY_KEYWORDS,
  ...GPG_KEYWORDS,
  "SOURCE",
  "REQUIRE_SOURCE",
  "REQUIRE_SOURCE_ADDRESS",
  "ACCESS_EXPIRE",
  "ACCESS_EXPIRE_EPOCH",
  "OPEN_PORTS",
  "RESTRICT_PORTS",
  "FW_ACCESS_TIMEOUT",
  "MAX_FW_TIMEOUT",
  "REQUIRE_USERNAME",
  "CMD_CYCLE_OPEN",
  "FORCE_NAT",
  "FORCE_SNAT",
  "FORCE_MASQUERADE",
]);

/** Keywords that are not converted, and what to do about them. */
const NOTES: readonly [keywords: RegExp, words: string][] = [
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

/** Names each keyword of a stanza that nothing of ours stands for. */
function nameTheRest(settings: Settings, warnings: string[]): void {
  for (const { keyword, value, where } of settings.values()) {
    if (CONVERTED.has(keyword)) continue;
    if (keyword === "DESTINATION" && value.toUpperCase() === "ANY") continue;
    if (!/^y/i.test(value) && SWITCHES.has(keyword)) continue;
    const note = NOTES.find(([keywords]) => keywords.test(keyword));
    const words = note?.[1] ?? "unknown, left out";
    warnings.push(`${where}: ${keyword}: ${words}`);
  }
}

/** Keywords that change nothing unless they are Y. */
const SWITCHES: ReadonlySet<string> = new Set([
  "ENABLE_CMD_EXEC",
  "ENABLE_CMD_SUDO_EXEC",
  "FORCE_MASQUERADE",
  "FORWARD_ALL",
  "DISABLE_DNAT",
]);
