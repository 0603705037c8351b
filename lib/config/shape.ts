/** The shape of `server.yaml`: every key, what it may be, and its default. */

import { type Endpoint, parseAddress } from "../values/address.ts";
import { KEY_SIZE } from "../dialects/crypto/curve25519.ts";
import { parseEndpoint, parsePrefix } from "../values/address.ts";
import { parseBase64url } from "../values/bytes.ts";
import { parsePortRange } from "../values/ports.ts";
import type { BackendName, Listen, StreamListen } from "./config.ts";
import {
  fwknopClient,
  openmeClient,
  openmeServer,
  openspaClient,
  openspaServer,
} from "../dialects/openspa/keys.ts";
import { door } from "./door_schema.ts";
import { parseHours } from "../values/time.ts";
import {
  bool,
  mappingOr,
  named,
  object,
  oneOf,
  oneOrMore,
  optional,
  required,
  type Schema,
  section,
  text,
} from "../values/schema.ts";
import { argv, duration, NAME, opening, words } from "./shapes.ts";
import { parseTime } from "../values/time_.ts";

export { NAME };

/** UDP port of a configuration that does not choose one. */
export const DEFAULT_PORT = 62201;

/** Longest `max_skew`: beyond a day a clock is set, not allowed for. */
const MAX_SKEW_SECONDS = 86400;

/** The firewalls that a configuration may name. */
export const BACKENDS: readonly BackendName[] = [
  "nft",
  "iptables",
  "gate",
  "command",
];

const ports = text("tcp/PORT or udp/PORT", parsePortRange, {
  json: { pattern: "^(tcp|udp)/[0-9]+(-[0-9]+)?$" },
});

const target = text("HOST:PORT", (value): Endpoint | null => {
  const endpoint = parseEndpoint(value);
  return endpoint && endpoint.port > 0 ? endpoint : null;
});

const listen = text<Listen | StreamListen>(
  `PORT, "ADDRESS:PORT" or "[IPV6]:PORT", or one of them after tcp/ or http/`,
  parseTransport,
);

const prefix = text(
  "an address or a network such as 192.0.2.0/24",
  parsePrefix,
);

const key = text(
  "a key of 43 base64url characters that is not all zero",
  parseKey,
  { secret: true, json: { pattern: "^[A-Za-z0-9_-]{43}$" } },
);

const time = text(
  "a time such as 2027-01-01T00:00:00Z",
  parseTime,
  { json: { format: "date-time" } },
);

const hours = text(`hours such as "mon-fri 08:00-18:00"`, parseHours);

const service = mappingOr(
  object({
    listen: required(oneOrMore(ports)),
    to: optional(target, null),
    masquerade: optional(bool, false),
    kill: optional(bool, false),
  }),
  oneOrMore(ports),
);

const client = object({
  knock: optional(
    object({ key: required(key), psk: required(key) }, { secret: true }),
    null,
  ),
  fwknop: optional(fwknopClient, null),
  openme: optional(openmeClient, null),
  openspa: optional(openspaClient, null),
  open: optional(oneOrMore(opening, { empty: true }), []),
  for: optional(duration(), null),
  max_for: optional(duration(), null),
  from: optional(oneOrMore(prefix), null),
  require_address: optional(bool, false),
  any_address: optional(bool, false),
  expires: optional(time, null),
  hours: optional(hours, null),
  code: optional(words, null),
  once: optional(bool, false),
  run: optional(oneOrMore(words), []),
});

/** The whole of `server.yaml`. */
export const serverSchema = object({
  listen: optional(oneOrMore(listen), [{ host: "::", port: DEFAULT_PORT }]),
  key: optional(words, "server.key"),
  max_skew: optional(duration(MAX_SKEW_SECONDS), 120),
  reply: optional(bool, true),
  state: optional(words, null),
  firewall: section(object({
    backend: optional(oneOf(BACKENDS), "nft"),
    mode: optional(oneOf(["guard", "accept"]), "guard"),
    chain: optional(words, null),
    open: optional(argv, null),
    close: optional(argv, null),
  })),
  services: section(named(NAME, service)),
  defaults: section(object({
    for: optional(duration(), 30),
    max_for: optional(duration(), 8 * 3600),
  })),
  clients: section(named(NAME, client)),
  openme: section(openmeServer),
  openspa: section(openspaServer),
  sequences: section(named(NAME, door)),
  commands: section(named(NAME, argv)),
  hooks: section(object({
    open: optional(argv, null),
    close: optional(argv, null),
  })),
  log: section(object({
    format: optional(oneOf(["text", "json"]), "text"),
    level: optional(oneOf(["debug", "info", "warn", "error"]), "info"),
  })),
  metrics: optional(target, null),
});

/** `server.yaml` as it was read, before its parts were held against each other. */
export type ServerYaml = Read<typeof serverSchema>;
export type ServiceYaml = Read<typeof service>;
export type ClientYaml = Read<typeof client>;

type Read<S> = S extends Schema<infer T> ? T : never;

function parseTransport(value: string): Listen | StreamListen | null {
  const [, transport, rest] = /^(?:(udp|tcp|http)\/)?(.*)$/s.exec(value)!;
  const listen = parseListen(rest!);
  return listen && (transport === "tcp" || transport === "http")
    ? { ...listen, transport }
    : listen;
}

/** Reads `PORT`, `ADDRESS:PORT` or `[IPV6]:PORT`; "::" is every address. */
export function parseListen(value: string): Listen | null {
  const endpoint = /^\d{1,5}$/.test(value)
    ? { host: "::", port: Number(value) }
    : parseEndpoint(value);
  if (!endpoint || endpoint.port < 1 || endpoint.port > 65535) return null;
  return parseAddress(endpoint.host) === null ? null : endpoint;
}

/** Reads a key of 32 bytes in base64url; null if it is none, or all zero. */
export function parseKey(value: string): Uint8Array | null {
  const bytes = parseBase64url(value, KEY_SIZE);
  return bytes?.some((byte) => byte !== 0) ? bytes : null;
}
