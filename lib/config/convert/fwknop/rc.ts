/** .fwknoprc of fwknop's client as profiles of ours. */

import { DIGEST_TYPES } from "../../../dialects/crypto/hash.ts";
import {
  formatEndpoint,
  parseAddress,
  parseEndpoint,
} from "../../../values/address.ts";
import { formatPortRange, type PortRange } from "../../../values/ports.ts";
import { COMMAND_NAMES } from "../../../values/program.ts";
import { NAME } from "../../../values/schema.ts";
import { formatJson } from "../../../values/text.ts";
import { scalar } from "../../../values/yaml.ts";
import {
  convertClientGpg,
  convertKeys,
  formatKeys,
  GPG_KEYWORDS,
  KEY_KEYWORDS,
} from "./keys.ts";
import {
  convertPorts,
  type Directive,
  leadingNumber,
  readDirectives,
  type Settings,
  settle,
  type SourceFile,
} from "./lines.ts";

/** The stanza that all others inherit. */
const DEFAULT = "default";
const DEFAULT_PORT = 62201;
const ANY_ADDRESS = "0.0.0.0";
/** Page that fwknop asks for its own address without RESOLVE_URL. */
const DEFAULT_URL = "https://www.cipherdyne.org/cgi-bin/myip";
/** The longest that fwknop asks for, seconds. */
const MAX_TIMEOUT = 65536;
/** The most ports of a profile. */
const MAX_PORTS = 15;
/** The name that packets bear where a profile names no user. */
const USER = "knock";

/** A stanza: its name, as it was first written, and what it sets. */
interface RcStanza {
  readonly name: string;
  readonly settings: Settings;
}

/** Converts the stanzas of .fwknoprc; each is an entry of profiles.yaml. */
export function convertRc(file: SourceFile, warnings: string[]): string[] {
  const stanzas = readStanzas(file, warnings);
  const base = stanzas.get(DEFAULT)?.settings ?? new Map();
  const profiles: string[] = [];
  const names = new Set<string>();
  let unnamed = false;
  for (const [id, { name, settings: own }] of stanzas) {
    const settings = inherit(base, own);
    const where = `${file.name}: [${name}]`;
    // The default alone is for the others, unless it is a whole profile.
    if (id === DEFAULT && !settings.has("SPA_SERVER")) {
      if (stanzas.size === 1) noServer(where, warnings);
      continue;
    }
    const profile = convertStanza(settings, where, warnings);
    if (!profile) continue;
    const free = nameOf(name, names, where, warnings);
    profiles.push(
      `${scalar(free)}:\n${profile.map((line) => `  ${line}\n`).join("")}`,
    );
    unnamed ||= !settings.has("SPOOF_USER");
  }
  if (unnamed) {
    warnings.push(
      `${file.name}: without SPOOF_USER packets name the user "${USER}", and ` +
        `not who runs it: write "user" where the server has REQUIRE_USERNAME`,
    );
  }
  return profiles;
}

function noServer(where: string, warnings: string[]): void {
  warnings.push(
    `${where}: has no SPA_SERVER, left out: what is typed after "fwknop -D" ` +
      `belongs there`,
  );
}

/** A switch that is on in [default] cannot be turned off, as in fwknop. */
function inherit(base: Settings, own: Settings): Settings {
  const settings = new Map([...base, ...own]);
  for (const directive of base.values()) {
    const { keyword } = directive;
    if (SWITCHES.test(keyword) && isOn(directive)) {
      settings.set(keyword, directive);
    }
  }
  // An address goes before a look-up, wherever it stands.
  const allow = base.get("ALLOW_IP");
  if (allow && !isResolve(allow) && isResolve(own.get("ALLOW_IP"))) {
    settings.set("ALLOW_IP", allow);
  }
  return settings;
}

/** True if a switch of .fwknoprc is on: "yes" is not. */
function isOn(directive: Directive | undefined): boolean {
  return /^y$/i.test(directive?.value ?? "");
}

function isResolve(directive: Directive | undefined): boolean {
  return directive?.value.toLowerCase() === "resolve";
}

function readStanzas(
  file: SourceFile,
  warnings: string[],
): Map<string, RcStanza> {
  const lines = new Map<string, { name: string; own: Directive[] }>();
  let current: Directive[] | null = null;
  // Sections keep their place by being lines with a keyword of their own.
  const text = file.text.replace(
    /^[ \t]*\[[ \t]*([^\]\n]*?)[ \t]*\].*$/gm,
    (_, name: string) => `[] "${name.replaceAll(";", ",")}"`,
  );
  for (const directive of readDirectives({ ...file, text }, warnings)) {
    const { keyword, value, where } = directive;
    if (keyword === "[]") {
      const name = value.slice(1, -1);
      // Names are the same in capitals.
      const id = name.toLowerCase();
      if (!lines.has(id)) lines.set(id, { name, own: [] });
      current = lines.get(id)!.own;
    } else if (current === null) {
      warnings.push(`${where}: ${keyword}: is before any [NAME], left out`);
    } else {
      // A value ends at a space or a comment.
      const [word] = value.split(/[\s#]/);
      if (word) current.push({ ...directive, value: word });
      else warnings.push(`${where}: ${keyword}: has no value, left out`);
    }
  }
  return new Map(
    [...lines].map(([id, { name, own }]) => [
      id,
      { name, settings: settle(own, warnings) },
    ]),
  );
}

/** The lines of a profile; null, and a warning, if there can be none. */
function convertStanza(
  settings: Settings,
  where: string,
  warnings: string[],
): string[] | null {
  const server = settings.get("SPA_SERVER");
  if (!server) {
    noServer(where, warnings);
    return null;
  }
  nameTheRest(settings, warnings);
  const gpg = convertClientGpg(settings, warnings);
  const keys = convertKeys(settings, where, warnings, gpg, true);
  if (!keys) return null;
  const port = convertPort(settings, "SPA_SERVER_PORT", warnings);
  const host = server.value.replace(/^\[(.*)\]$/, "$1");
  const at = formatEndpoint({ host, port: port ?? DEFAULT_PORT });
  if (!parseEndpoint(at)) {
    warnings.push(`${server.where}: SPA_SERVER: is no host, left out`);
    return null;
  }
  const wish = convertAccess(settings, host, where, warnings);
  const user = settings.get("SPOOF_USER");
  const more = [
    ...user ? [`user: ${formatJson(user.value)}`] : [],
    ...convertDigest(settings.get("DIGEST_TYPE"), warnings),
    ...wish.nat,
  ].map((entry) => `, ${entry}`).join("");
  return [
    `server: ${formatJson(at)}`,
    formatKeys(keys, more),
    ...wish.open.length > 0
      ? [`open: [${wish.open.map(formatPortRange).join(", ")}]`]
      : [],
    ...convertTimeout(settings.get("FW_TIMEOUT"), warnings),
    ...convertFrom(settings, where, warnings),
    ...convertTransport(settings.get("SPA_SERVER_PROTO"), warnings),
  ];
}

function convertPort(
  settings: Settings,
  keyword: string,
  warnings: string[],
): number | null {
  const directive = settings.get(keyword);
  if (!directive) return null;
  const port = leadingNumber(directive.value);
  if (port >= 1 && port <= 65535) return port;
  warnings.push(`${directive.where}: ${keyword}: is no port, left out`);
  return null;
}

/** Converts the ports to ask for, and where they are forwarded. */
function convertAccess(
  settings: Settings,
  host: string,
  where: string,
  warnings: string[],
): { open: PortRange[]; nat: string[] } {
  const access = settings.get("ACCESS");
  const open = access ? convertPorts(access, warnings) : [];
  if (open.length === 0) {
    warnings.push(`${where}: has no ACCESS: name the ports with --open`);
  }
  if (open.length > MAX_PORTS) {
    const words = `only the first ${MAX_PORTS} ports are taken`;
    warnings.push(`${access!.where}: ACCESS: ${words}`);
    open.length = MAX_PORTS;
  }
  const target = settings.get("NAT_ACCESS");
  const local = isOn(settings.get("NAT_LOCAL"));
  const random = settings.get("NAT_RAND_PORT");
  const [first, second] = open;
  if (!first || (!target && !local)) return { open, nat: [] };
  const left = (words: string) => {
    const { where, keyword } = target ?? settings.get("NAT_LOCAL")!;
    warnings.push(`${where}: ${keyword}: ${words}`);
    return { open, nat: [] };
  };
  if (isOn(random)) {
    return left("not converted: NAT_RAND_PORT asks for another port each time");
  }
  const [name, port] = (target?.value ?? host).split(/[:,]/);
  const to = parseEndpoint(`${name}:${port ?? first.first}`);
  if (!to || to.port < 1) return left("is no HOST,PORT, left out");
  if (second) {
    warnings.push(`${where}: one port is led on: "${formatPortRange(first)}"`);
  }
  const asked = convertPort(settings, "NAT_PORT", warnings) ?? first.first;
  return {
    open: [{ ...first, first: asked, last: asked }],
    nat: [
      `${local ? "nat_local" : "nat_access"}: ${
        formatJson(formatEndpoint(to))
      }`,
    ],
  };
}

function convertDigest(
  type: Directive | undefined,
  warnings: string[],
): string[] {
  if (!type) return [];
  const name = type.value.toLowerCase().replace("_", "-");
  if (name === "sha256") return [];
  if (DIGEST_TYPES.some((known) => known === name)) return [`digest: ${name}`];
  warnings.push(`${type.where}: DIGEST_TYPE: is not known, sha256 is put in`);
  return [];
}

function nameOf(
  stanza: string,
  names: Set<string>,
  where: string,
  warnings: string[],
): string {
  const plain = stanza.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[._-]+/, "")
    .slice(0, 60) || "fwknop";
  const taken = (name: string) =>
    COMMAND_NAMES.includes(name) || name === "resolve" || names.has(name);
  let name = plain;
  for (let number = 1; taken(name); number++) name = `${plain}-${number}`;
  names.add(name);
  if (name !== stanza) warnings.push(`${where}: is called "${name}" here`);
  return NAME.pattern.test(name) ? name : "fwknop";
}

function convertTimeout(
  timeout: Directive | undefined,
  warnings: string[],
): string[] {
  const seconds = leadingNumber(timeout?.value ?? "0");
  if (seconds === 0) return [];
  if (seconds > 0 && seconds <= MAX_TIMEOUT) return [`for: ${seconds}s`];
  const words = `is not 0 to ${MAX_TIMEOUT}, left out`;
  warnings.push(`${timeout!.where}: FW_TIMEOUT: ${words}`);
  return [];
}

/** Converts the address to open for, and the page that looks it up. */
function convertFrom(
  settings: Settings,
  where: string,
  warnings: string[],
): string[] {
  const allow = settings.get("ALLOW_IP");
  const url = settings.get("RESOLVE_URL");
  const asks = url ?? ["RESOLVE_IP_HTTPS", "RESOLVE_IP_HTTP"]
    .map((keyword) => settings.get(keyword)).find(isOn);
  const value = allow?.value.toLowerCase();
  if (isResolve(allow) || (!allow && asks)) {
    return ["from: resolve", ...convertUrl(settings, allow ?? asks!, warnings)];
  }
  if (!allow) {
    warnings.push(
      `${where}: has no ALLOW_IP: "from: source" is put in, as fwknop's -s`,
    );
  }
  if (!allow || value === "source" || value === ANY_ADDRESS) {
    return ["from: source"];
  }
  const address = parseAddress(allow.value);
  if (address) return [`from: ${formatJson(address)}`];
  warnings.push(`${allow.where}: ALLOW_IP: is no address, "source" is put in`);
  return ["from: source"];
}

function convertUrl(
  settings: Settings,
  asks: Directive,
  warnings: string[],
): string[] {
  const url = settings.get("RESOLVE_URL");
  const only = settings.get("RESOLVE_HTTP_ONLY");
  const put = `"resolve: { https: URL }" in profiles.yaml names a page`;
  if (!url) {
    const page = isOn(only) ? "a page by HTTP" : DEFAULT_URL;
    warnings.push(
      `${asks.where}: ${asks.keyword}: fwknop asks ${page}, and nobody is put ` +
        `in here: ${put}`,
    );
    return [];
  }
  if (/^https:\/\/[^\s/]/.test(url.value) && URL.canParse(url.value)) {
    return [`resolve: { https: ${formatJson(url.value)} }`];
  }
  warnings.push(
    `${url.where}: RESOLVE_URL: not converted: no page but one of https:// is ` +
      `asked: ${put}`,
  );
  return [];
}

function convertTransport(
  protocol: Directive | undefined,
  warnings: string[],
): string[] {
  const value = protocol?.value.toLowerCase() ?? "udp";
  if (value === "udp") return [];
  if (value === "tcp" || value === "http") return [`transport: ${value}`];
  warnings.push(`${protocol!.where}: SPA_SERVER_PROTO: "udp" is put in`);
  return [];
}

const CONVERTED: ReadonlySet<string> = new Set([
  ...KEY_KEYWORDS,
  ...GPG_KEYWORDS,
  "SPA_SERVER_PROTO",
  "SPA_SERVER",
  "SPA_SERVER_PORT",
  "ACCESS",
  "ALLOW_IP",
  "RESOLVE_IP_HTTPS",
  "RESOLVE_IP_HTTP",
  "RESOLVE_HTTP_ONLY",
  "RESOLVE_URL",
  "FW_TIMEOUT",
  "SPOOF_USER",
  "DIGEST_TYPE",
  "NAT_ACCESS",
  "NAT_LOCAL",
  "NAT_PORT",
  "NAT_RAND_PORT",
  // Told by the keys.
  "USE_HMAC",
]);

/** Switches of fwknop's client: what is not Y changes nothing. */
const SWITCHES =
  /^(USE_GPG|USE_GPG_AGENT|GPG_NO_SIGNING_PW|USE_HMAC|RAND_PORT|NAT_LOCAL|NAT_RAND_PORT|RESOLVE_IP_HTTPS?|RESOLVE_HTTP_ONLY|NO_SAVE_ARGS|SERVER_RESOLVE_IPV4|USE_WGET_USER_AGENT)$/;

const NOTES: readonly [keywords: RegExp, words: string][] = [
  [/^RAND_PORT$/, "not converted: packets go to SPA_SERVER_PORT"],
  [/^(SPA_SOURCE_PORT|SPOOF_SOURCE_IP)$/, "not converted"],
  [
    /^(WGET_CMD|HTTP_USER_AGENT|USE_WGET)/,
    "not converted: no other program asks for a page here",
  ],
  [/GPG/, "not converted: gpg's agent asks for passphrases"],
  [/^TIME_OFFSET$/, "not converted: set the clock"],
  [/^(KEY_FILE|HMAC_KEY_FILE)$/, "not converted: put the key in"],
  [
    /^SERVER_RESOLVE_IPV4$/,
    "not converted: put the server's IPv4 address in, if its name has IPv6, too",
  ],
  [/^(NO_SAVE_ARGS|VERBOSE)$/, "no concern here"],
];

function nameTheRest(settings: Settings, warnings: string[]): void {
  for (const directive of settings.values()) {
    const { keyword, value, where } = directive;
    if (CONVERTED.has(keyword)) continue;
    if (SWITCHES.test(keyword) && !isOn(directive)) continue;
    if (keyword === "TIME_OFFSET" && value === "0") continue;
    const note = NOTES.find(([keywords]) => keywords.test(keyword));
    const words = `${where}: ${keyword}: ${note?.[1] ?? "unknown, left out"}`;
    // What [default] sets is seen once for each stanza.
    if (!warnings.includes(words)) warnings.push(words);
  }
}
