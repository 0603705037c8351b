/**
 * Profiles: the servers that this client can knock at, by name, and who reports
 * its own address to it. The file holds private keys. Pure. profiles.yaml:
 *
 * ```yaml
 * home:
 *   server: home.example.org:62201
 *   knock: { server: PUBLIC43, key: PRIVATE43, psk: PSK43 }
 *                      # or the keys of another dialect: `profile` of its entry
 *   open: [tcp/22]     # what to ask for; absent: all that it may open
 *   for: 1h            # how long; absent: the server's default
 *   from: source       # or an address, or resolve
 *   transport: udp     # or tcp, or http/8080
 *   remember: true     # this client's address and grants, between runs
 *   code: BASE32       # the secret of one-time codes, where they are wanted;
 *                      # or ask: an app shows them, and they are typed
 * resolve:               # who reports this client's address, for --from resolve
 *   stun: stun.example.org
 * ```
 * @module
 */

import { parseCodeSecret } from "../../dialects/crypto/codes.ts";
import type { ProfileKeys } from "../../dialects/keys.ts";
import { MAX_PORTS } from "../../dialects/knock1/items.ts";
import { DIALECT_NAMES, PROFILE_FIELDS } from "../../dialects/table.ts";
import {
  type Endpoint,
  parseAddress,
  parseEndpoint,
} from "../../values/address.ts";
import { parsePortRange, type PortRange } from "../../values/ports.ts";
import { COMMAND_NAMES } from "../../values/program.ts";
import {
  at,
  configError,
  isMapping,
  type Mistake,
  NAME,
  named,
  object,
  oneOrMore,
  optional,
  required,
  text,
} from "../../values/schema.ts";
import { parseDuration } from "../../values/time.ts";
import { parseYaml } from "../../values/yaml.ts";
import {
  parseTransport,
  type Transport,
  TRANSPORT_WORDS,
  UDP,
} from "../knock/transport.ts";

/** The port of STUN servers. RFC 8489 §18.6. */
const STUN_PORT = 3478;
const DNS_PORT = 53;

/** Services to ask for the own address, in this order; null: not this one. */
export interface Resolving {
  readonly stun: Endpoint | null;
  /** A page that is the bare address. */
  readonly https: string | null;
  /** A name that the server answers with the asker's address. */
  readonly dns: { readonly name: string; readonly server: Endpoint } | null;
}

/** The key of profiles.yaml that is no profile. */
export const RESOLVE_KEY = "resolve";

const resolving = object({
  stun: optional(
    text("HOST or HOST:PORT", (words) => parseServer(words, STUN_PORT)),
    null,
  ),
  https: optional(text("a URL that starts with https://", parseUrl), null),
  dns: optional(
    object({
      name: required(
        text(
          "a name",
          (words) => /^[A-Za-z0-9._-]{1,253}$/.test(words) ? words : null,
        ),
      ),
      server: required(
        text("HOST or HOST:PORT", (words) => parseServer(words, DNS_PORT)),
      ),
    }),
    null,
  ),
});

function parseUrl(words: string): string | null {
  return /^https:\/\/[^\s/]/.test(words) && URL.canParse(words) ? words : null;
}

/** Server to knock at, with keys and defaults. */
export interface Profile extends ProfileKeys {
  readonly name: string;
  readonly server: Endpoint;
  /** The secret of one-time codes, in base32, or {@linkcode ASK_CODE}; null where none is wanted. */
  readonly code: string | null;
  /** Single ports to ask for; empty: all that this client may open. */
  readonly open: readonly PortRange[];
  /** Seconds to ask for; 0: the server's default. */
  readonly seconds: number;
  readonly from: From;
  readonly transport: Transport;
  /** True if this client stores its own address, as the server saw it, and its grants. */
  readonly remember: boolean;
  /** Services that report this client's address; null = none configured. */
  readonly resolve: Resolving | null;
}

/** Address to open for: the source of the packet, a given one, or the one that `resolve` finds. */
export type From = "source" | "resolve" | { readonly address: string };

/** In the place of a secret: the person who knocks types each code. */
export const ASK_CODE = "ask";

const ENTRIES = named(
  NAME,
  object({
    server: required(text("HOST:PORT or [IPV6]:PORT", parseServer)),
    ...PROFILE_FIELDS,
    code: optional(
      text("ask, or base32 of 16 to 128 characters", parseCode, {
        secret: true,
      }),
      null,
    ),
    open: optional(
      oneOrMore(text("tcp/PORT or udp/PORT", parsePortRange)),
      [],
    ),
    for: optional(text("a duration such as 30s, 5m or 8h", parseDuration), 0),
    from: optional(text("source, resolve or an address", parseFrom), "source"),
    transport: optional(text(TRANSPORT_WORDS, parseTransport), UDP),
    remember: optional(text("true or false", parseTruth), true),
    [RESOLVE_KEY]: optional(resolving, null),
  }),
);

/** The whole of `profiles.yaml`; what is for all profiles is read beside it. */
export const PROFILES: typeof ENTRIES = {
  ...ENTRIES,
  json: { ...ENTRIES.json, properties: { [RESOLVE_KEY]: resolving.json } },
};

/** Reads the text of a file of profiles; `file` is for the messages. */
export function parseProfiles(
  content: string,
  file: string,
): ReadonlyMap<string, Profile> {
  // All scalars stay text: no key or name turns into a number or a date.
  const raw = parseYaml(content, "failsafe");
  if (!raw.ok) throw configError(file, [raw.mistake]);
  const mistakes: Mistake[] = [];
  let yaml = raw.value;
  let shared: Resolving | null = null;
  if (isMapping(yaml) && Object.hasOwn(yaml, RESOLVE_KEY)) {
    const { [RESOLVE_KEY]: forAll, ...profiles } = yaml;
    shared = resolving.read(forAll, RESOLVE_KEY, mistakes) ?? null;
    yaml = profiles;
  }
  const read = PROFILES.read(yaml, "", mistakes) ?? new Map();
  checkDialects(yaml, mistakes);
  const profiles = new Map<string, Profile>();
  for (const [name, { for: seconds, ...rest }] of read) {
    if (COMMAND_NAMES.includes(name)) {
      mistakes.push({
        path: name,
        text: "is the name of a command, and cannot be a profile's",
      });
    }
    if (rest.open.length > MAX_PORTS) {
      const most = `must be at most ${MAX_PORTS} ports`;
      const text = `${most}, got ${rest.open.length}`;
      mistakes.push({ path: `${name}.open`, text });
    }
    const resolve = rest.resolve ?? shared;
    profiles.set(name, { name, seconds, ...rest, resolve });
  }
  if (mistakes.length > 0) throw configError(file, mistakes);
  return profiles;
}

/** Checks that each profile has the keys of one dialect, right or wrong. */
function checkDialects(yaml: unknown, mistakes: Mistake[]): void {
  if (!isMapping(yaml)) return;
  for (const [name, profile] of Object.entries(yaml)) {
    if (!isMapping(profile)) continue;
    const found = DIALECT_NAMES.filter((dialect) =>
      Object.hasOwn(profile, dialect)
    );
    if (found.length === 0) {
      mistakes.push({ path: at(name, "knock"), text: "is missing" });
    }
    if (found.length > 1) {
      const text = `must have the keys of one dialect, got ${found.join(", ")}`;
      mistakes.push({ path: name, text });
    }
  }
}

/** Reads `source`, `resolve` or an address; null if it is none. */
export function parseFrom(words: string): From | null {
  if (words === "source" || words === "resolve") return words;
  const address = parseAddress(words);
  return address === null ? null : { address };
}

function parseServer(words: string, usualPort?: number): Endpoint | null {
  const endpoint = parseEndpoint(words, usualPort);
  return endpoint && endpoint.port > 0 ? endpoint : null;
}

function parseTruth(words: string): boolean | null {
  return words === "true" ? true : words === "false" ? false : null;
}

function parseCode(words: string): string | null {
  return words === ASK_CODE || parseCodeSecret(words) ? words : null;
}
