/** .fwknoprc of fwknop's client as profiles of ours. */

import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { COMMAND_NAMES } from "../../values/command_names.ts";
import { formatPortRange } from "../../values/ports.ts";
import { NAME } from "../shapes.ts";
import { scalar } from "../write.ts";
import { convertClientGpg, GPG_KEYWORDS } from "./fwknop_gpg.ts";
import { convertKeys, formatKeys, KEY_KEYWORDS } from "./fwknop_keys.ts";
import {
  type Directive,
  isYes,
  readDirectives,
  type Settings,
  settle,
  type SourceFile,
} from "./fwknop_lines.ts";
import { convertPorts } from "./fwknop_ports.ts";

/** The stanza that all others inherit. */
const DEFAULT = "default";
const DEFAULT_PORT = "62201";
const ANY_ADDRESS = "0.0.0.0";

/** Converts the stanzas of .fwknoprc; each is an entry of profiles.yaml. */
export function convertRc(file: SourceFile, warnings: string[]): string[] {
  const stanzas = readStanzas(file, warnings);
  const base = stanzas.get(DEFAULT) ?? new Map();
  const profiles: string[] = [];
  for (const [name, own] of stanzas) {
    const settings = new Map([...base, ...own]);
    const where = `${file.name}: [${name}]`;
    // The default alone is for the others, unless it is a whole profile.
    if (name === DEFAULT && !settings.has("SPA_SERVER")) continue;
    const profile = convertStanza(name, settings, where, warnings);
    if (profile) profiles.push(profile);
  }
  return profiles;
}

function readStanzas(
  file: SourceFile,
  warnings: string[],
): Map<string, Settings> {
  const lines = new Map<string, Directive[]>();
  let current: string | null = null;
  // Sections keep their place by being lines with a keyword of their own.
  const text = file.text.replace(
    /^[ \t]*\[[ \t]*(.+?)[ \t]*\][ \t]*\r?$/gm,
    "[] $1",
  );
  for (const directive of readDirectives({ ...file, text }, warnings)) {
    const { keyword, value, where } = directive;
    if (keyword === "[]") {
      current = value;
      if (!lines.has(current)) lines.set(current, []);
    } else if (current === null) {
      warnings.push(`${where}: ${keyword}: is before any [NAME], left out`);
    } else {
      // A value ends at a space or a comment.
      const [word] = value.split(/[\s#]/);
      lines.get(current)!.push({ ...directive, value: word! });
    }
  }
  return new Map(
    [...lines].map(([name, list]) => [name, settle(list, warnings)]),
  );
}

function convertStanza(
  stanza: string,
  settings: Settings,
  where: string,
  warnings: string[],
): string | null {
  const server = settings.get("SPA_SERVER");
  if (!server) {
    warnings.push(`${where}: has no SPA_SERVER, left out`);
    return null;
  }
  nameTheRest(settings, warnings);
  const gpg = convertClientGpg(settings, warnings);
  const keys = convertKeys(settings, where, warnings, gpg);
  if (!keys) return null;
  const port = settings.get("SPA_SERVER_PORT")?.value ?? DEFAULT_PORT;
  const user = settings.get("SPOOF_USER");
  const host = server.value.replace(/^\[(.*)\]$/, "$1");
  const at = formatEndpoint({ host, port: Number(port) });
  const access = settings.get("ACCESS");
  const open = access ? convertPorts(access, warnings) : [];
  if (open.length === 0) {
    warnings.push(`${where}: has no ACCESS: name the ports with --open`);
  }
  const lines = [
    `server: ${JSON.stringify(at)}`,
    formatKeys(keys, user ? `, user: ${JSON.stringify(user.value)}` : ""),
    ...open.length > 0
      ? [`open: [${open.map(formatPortRange).join(", ")}]`]
      : [],
    ...convertTimeout(settings.get("FW_TIMEOUT"), warnings),
    ...convertFrom(settings, warnings),
    ...convertTransport(settings.get("SPA_SERVER_PROTO"), warnings),
  ];
  return `${scalar(nameOf(stanza, where, warnings))}:\n` +
    lines.map((line) => `  ${line}\n`).join("");
}

function nameOf(stanza: string, where: string, warnings: string[]): string {
  const plain = stanza.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[._-]+/, "")
    .slice(0, 60) || "fwknop";
  const name = COMMAND_NAMES.includes(plain) ? `${plain}-1` : plain;
  if (name !== stanza) warnings.push(`${where}: is called "${name}" here`);
  return NAME.pattern.test(name) ? name : "fwknop";
}

function convertTimeout(
  timeout: Directive | undefined,
  warnings: string[],
): string[] {
  if (!timeout || timeout.value === "0") return [];
  if (/^\d{1,5}$/.test(timeout.value)) return [`for: ${timeout.value}s`];
  warnings.push(`${timeout.where}: FW_TIMEOUT: is no number, left out`);
  return [];
}

function convertFrom(settings: Settings, warnings: string[]): string[] {
  const allow = settings.get("ALLOW_IP");
  const value = allow?.value.toLowerCase();
  if (isYes(settings.get("RESOLVE_IP_HTTPS")) || value === "resolve") {
    return ["from: resolve"];
  }
  if (!allow || value === "source" || value === ANY_ADDRESS) {
    return ["from: source"];
  }
  const address = parseAddress(allow.value);
  if (address) return [`from: ${JSON.stringify(address)}`];
  warnings.push(`${allow.where}: ALLOW_IP: is no address, "source" is put in`);
  return ["from: source"];
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
  "FW_TIMEOUT",
  "SPOOF_USER",
  // Told by the keys.
  "USE_HMAC",
]);

/** Switches of fwknop's client: N changes nothing. */
const SWITCHES =
  /^(RAND_PORT|NAT_LOCAL|NAT_RAND_PORT|RESOLVE_HTTP_ONLY|NO_SAVE_ARGS|SERVER_RESOLVE_IPV4|USE_WGET_USER_AGENT|VERBOSE)$/;

const NOTES: readonly [keywords: RegExp, words: string][] = [
  [/^DIGEST_TYPE$/, "no concern here: the server finds it out by itself"],
  [/^(SPA_SOURCE_PORT|SPOOF_SOURCE_IP|RAND_PORT)$/, "not converted"],
  [/^NAT_/, "not converted: the server's services say what is forwarded"],
  [
    /^(RESOLVE_|WGET_CMD|HTTP_USER_AGENT|USE_WGET)/,
    'not converted: see "from: resolve"',
  ],
  [/GPG/, "not converted: gpg's agent asks for passphrases"],
  [/^TIME_OFFSET$/, "not converted: set the clock"],
  [/^(KEY_FILE|HMAC_KEY_FILE)$/, "not converted: put the key in"],
  [/^(NO_SAVE_ARGS|VERBOSE|SERVER_RESOLVE_IPV4)$/, "no concern here"],
];

function nameTheRest(settings: Settings, warnings: string[]): void {
  for (const { keyword, value, where } of settings.values()) {
    if (CONVERTED.has(keyword)) continue;
    if (/^n/i.test(value) && SWITCHES.test(keyword)) continue;
    const note = NOTES.find(([keywords]) => keywords.test(keyword));
    const words = `${where}: ${keyword}: ${note?.[1] ?? "unknown, left out"}`;
    // What [default] sets is seen once for each stanza.
    if (!warnings.includes(words)) warnings.push(words);
  }
}
