/** .fwknoprc of fwknop's client as profiles of ours. */

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
  digestOf,
  KEY_KEYWORDS,
} from "./keys.ts";
import {
  convertPorts,
  type Directive,
  isOn,
  keywords,
  leadingNumber,
  type Notes,
  readDirectives,
  Settings,
  settle,
  type SourceFile,
  warn,
} from "./lines.ts";

/** The stanza that all others inherit. */
const DEFAULT = "default";
/** The longest that fwknop asks for, seconds. */
const MAX_TIMEOUT = 65536;
/** The most ports of a profile. */
const MAX_PORTS = 15;
/** The name that packets bear where a profile names no user. */
const USER = "knock";

/** Converts the stanzas of .fwknoprc; each is an entry of profiles.yaml. */
export function convertRc(file: SourceFile, warnings: string[]): string[] {
  const stanzas = readStanzas(file, warnings);
  const base = stanzas.get(DEFAULT)?.values ?? new Map<string, Directive>();
  const profiles: string[] = [];
  const names = new Set<string>();
  let unnamed = false;
  for (const [id, { name, values }] of stanzas) {
    const where = `${file.name}: [${name}]`;
    const settings = new Settings(inherit(base, values), warnings, where);
    // The default alone is for the others, unless it is a whole profile.
    if (id === DEFAULT && !settings.has("SPA_SERVER") && stanzas.size > 1) {
      continue;
    }
    const profile = convertStanza(settings);
    if (!profile) continue;
    const free = nameOf(name, names, settings);
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

/** A switch that is on in [default] cannot be turned off, as in fwknop. */
function inherit(
  base: Settings["values"],
  own: Settings["values"],
): Settings["values"] {
  const values = new Map([...base, ...own]);
  for (const [keyword, directive] of base) {
    if (SWITCHES.has(keyword) && isOn(directive)) {
      values.set(keyword, directive);
    }
  }
  // An address goes before a look-up, wherever it stands.
  const allow = base.get("ALLOW_IP");
  if (allow && !isResolve(allow) && isResolve(own.get("ALLOW_IP"))) {
    values.set("ALLOW_IP", allow);
  }
  return values;
}

function isResolve(directive: Directive | undefined): boolean {
  return directive?.value.toLowerCase() === "resolve";
}

/** Each stanza with its name, as it was first written, and what it sets. */
function readStanzas(file: SourceFile, warnings: string[]) {
  const lines = new Map<string, { name: string; own: Directive[] }>();
  let current: Directive[] | null = null;
  // Sections keep their place by being lines with a keyword of their own.
  const text = file.text.replace(
    /^[ \t]*\[[ \t]*([^\]\n]*?)[ \t]*\].*$/gm,
    (_, name: string) => `[] "${name.replaceAll(";", ",")}"`,
  );
  for (const directive of readDirectives({ ...file, text }, warnings)) {
    const { keyword, value } = directive;
    if (keyword === "[]") {
      const name = value.slice(1, -1);
      // Names are the same in capitals.
      const id = name.toLowerCase();
      if (!lines.has(id)) lines.set(id, { name, own: [] });
      current = lines.get(id)!.own;
    } else if (current === null) {
      warn(warnings, directive, "is before any [NAME], left out");
    } else {
      // A value ends at a space or a comment.
      const [word] = value.split(/[\s#]/);
      if (word) current.push({ ...directive, value: word });
      else warn(warnings, directive, "has no value, left out");
    }
  }
  return new Map(
    [...lines].map(([id, { name, own }]) =>
      [id, { name, values: settle(own, warnings) }] as const
    ),
  );
}

/** The lines of a profile; null, and a warning, if there can be none. */
function convertStanza(settings: Settings): string[] | null {
  const server = settings.get("SPA_SERVER");
  if (!server) {
    const typed = 'what is typed after "fwknop -D" belongs there';
    return settings.warn(undefined, `has no SPA_SERVER, left out: ${typed}`);
  }
  settings.nameTheRest(CONVERTED, NOTES, isIdle);
  const keys = convertKeys(settings, convertClientGpg(settings), true);
  if (!keys) return null;
  const port = convertPort(settings, "SPA_SERVER_PORT") ?? 62201;
  const host = server.value.replace(/^\[(.*)\]$/, "$1");
  const at = formatEndpoint({ host, port });
  if (!parseEndpoint(at)) return settings.warn(server, "is no host, left out");
  const { open, nat } = convertAccess(settings, host);
  const user = settings.get("SPOOF_USER");
  const entries = [
    ...keys.entries,
    ...user ? [`user: ${formatJson(user.value)}`] : [],
    ...convertDigest(settings),
    ...nat,
  ];
  return [
    `server: ${formatJson(at)}`,
    `fwknop: { ${entries.join(", ")} }`,
    ...open.length > 0
      ? [`open: [${open.map(formatPortRange).join(", ")}]`]
      : [],
    ...convertTimeout(settings),
    ...convertFrom(settings),
    ...convertTransport(settings),
  ];
}

function convertPort(settings: Settings, keyword: string): number | null {
  const directive = settings.get(keyword);
  if (!directive) return null;
  const port = leadingNumber(directive.value);
  return port >= 1 && port <= 65535
    ? port
    : settings.warn(directive, "is no port, left out");
}

/** Converts the ports to ask for, and where they are forwarded. */
function convertAccess(
  settings: Settings,
  host: string,
): { open: PortRange[]; nat: string[] } {
  const access = settings.get("ACCESS");
  const open = access ? convertPorts(access, settings.warnings) : [];
  if (open.length === 0) {
    settings.warn(undefined, "has no ACCESS: name the ports with --open");
  }
  if (open.length > MAX_PORTS) {
    settings.warn(access, `only the first ${MAX_PORTS} ports are taken`);
    open.length = MAX_PORTS;
  }
  const target = settings.get("NAT_ACCESS");
  const local = settings.get("NAT_LOCAL");
  const [first, second] = open;
  if (!first || (!target && !isOn(local))) return { open, nat: [] };
  const left = (words: string) => {
    settings.warn(target ?? local, words);
    return { open, nat: [] };
  };
  if (isOn(settings.get("NAT_RAND_PORT"))) {
    return left("not converted: NAT_RAND_PORT asks for another port each time");
  }
  const [name, port] = (target?.value ?? host).split(/[:,]/);
  const to = parseEndpoint(`${name}:${port ?? first.first}`);
  if (!to || to.port < 1) return left("is no HOST,PORT, left out");
  if (second) {
    const words = `one port is led on: "${formatPortRange(first)}"`;
    settings.warn(undefined, words);
  }
  const asked = convertPort(settings, "NAT_PORT") ?? first.first;
  const key = isOn(local) ? "nat_local" : "nat_access";
  return {
    open: [{ ...first, first: asked, last: asked }],
    nat: [`${key}: ${formatJson(formatEndpoint(to))}`],
  };
}

function convertDigest(settings: Settings): string[] {
  const type = settings.get("DIGEST_TYPE");
  const digest = digestOf(type);
  if (!digest) settings.warn(type, "is not known, sha256 is put in");
  return !digest || digest === "sha256" ? [] : [`digest: ${digest}`];
}

function nameOf(stanza: string, names: Set<string>, settings: Settings) {
  const plain = stanza.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[._-]+/, "")
    .slice(0, 60) || "fwknop";
  const taken = (name: string) =>
    COMMAND_NAMES.includes(name) || name === "resolve" || names.has(name);
  let name = plain;
  for (let number = 1; taken(name); number++) name = `${plain}-${number}`;
  names.add(name);
  if (name !== stanza) settings.warn(undefined, `is called "${name}" here`);
  return NAME.pattern.test(name) ? name : "fwknop";
}

function convertTimeout(settings: Settings): string[] {
  const timeout = settings.get("FW_TIMEOUT");
  const seconds = leadingNumber(timeout?.value ?? "0");
  if (seconds === 0) return [];
  if (seconds > 0 && seconds <= MAX_TIMEOUT) return [`for: ${seconds}s`];
  return settings.warn(timeout, `is not 0 to ${MAX_TIMEOUT}, left out`) ?? [];
}

/** Converts the address to open for, and the page that looks it up. */
function convertFrom(settings: Settings): string[] {
  const allow = settings.get("ALLOW_IP");
  const asks = settings.get("RESOLVE_URL") ??
    ["RESOLVE_IP_HTTPS", "RESOLVE_IP_HTTP"]
      .map((keyword) => settings.get(keyword)).find(isOn);
  if (isResolve(allow) || (!allow && asks)) {
    return ["from: resolve", ...convertUrl(settings, allow ?? asks!)];
  }
  if (!allow) {
    const words = `has no ALLOW_IP: "from: source" is put in, as fwknop's -s`;
    settings.warn(undefined, words);
    return ["from: source"];
  }
  const value = allow.value.toLowerCase();
  if (value === "source" || value === "0.0.0.0") return ["from: source"];
  const address = parseAddress(allow.value);
  if (address) return [`from: ${formatJson(address)}`];
  settings.warn(allow, `is no address, "source" is put in`);
  return ["from: source"];
}

function convertUrl(settings: Settings, asks: Directive): string[] {
  const url = settings.get("RESOLVE_URL");
  const put = `"resolve: { https: URL }" in profiles.yaml names a page`;
  if (!url) {
    const page = isOn(settings.get("RESOLVE_HTTP_ONLY"))
      ? "a page by HTTP"
      : "https://www.cipherdyne.org/cgi-bin/myip";
    const words = `fwknop asks ${page}, and nobody is put in here: ${put}`;
    return settings.warn(asks, words) ?? [];
  }
  if (/^https:\/\/[^\s/]/.test(url.value) && URL.canParse(url.value)) {
    return [`resolve: { https: ${formatJson(url.value)} }`];
  }
  const words = `not converted: no page but one of https:// is asked: ${put}`;
  return settings.warn(url, words) ?? [];
}

function convertTransport(settings: Settings): string[] {
  const protocol = settings.get("SPA_SERVER_PROTO");
  const value = protocol?.value.toLowerCase() ?? "udp";
  if (value === "tcp" || value === "http") return [`transport: ${value}`];
  if (value !== "udp") settings.warn(protocol, '"udp" is put in');
  return [];
}

/** Keywords that are converted; USE_HMAC is told by the keys. */
const CONVERTED = KEY_KEYWORDS.union(keywords(`
  SPA_SERVER_PROTO SPA_SERVER SPA_SERVER_PORT ACCESS ALLOW_IP RESOLVE_IP_HTTPS
  RESOLVE_IP_HTTP RESOLVE_HTTP_ONLY RESOLVE_URL FW_TIMEOUT SPOOF_USER
  DIGEST_TYPE NAT_ACCESS NAT_LOCAL NAT_PORT NAT_RAND_PORT USE_HMAC`));

/** Switches of fwknop's client: what is not Y changes nothing. */
const SWITCHES = keywords(`
  USE_GPG USE_GPG_AGENT GPG_NO_SIGNING_PW USE_HMAC RAND_PORT NAT_LOCAL
  NAT_RAND_PORT RESOLVE_IP_HTTPS RESOLVE_IP_HTTP RESOLVE_HTTP_ONLY NO_SAVE_ARGS
  SERVER_RESOLVE_IPV4 USE_WGET_USER_AGENT`);

const NOTES: Notes = [
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

/** True for a line that changes nothing. */
function isIdle(directive: Directive): boolean {
  const { keyword, value } = directive;
  return SWITCHES.has(keyword) && !isOn(directive) ||
    keyword === "TIME_OFFSET" && value === "0";
}
