/** The shape of `server.yaml`: every key, its values and its default. */

import { CLIENT_FIELDS, OWN_FIELDS } from "../dialects/table.ts";
import {
  FLAG,
  type FlagName,
  type Flags,
  parseHit,
} from "../sequences/sequence.ts";
import {
  type Endpoint,
  parseAddress,
  parseEndpoint,
  parsePrefix,
  WIDEST_NETWORK,
} from "../values/address.ts";
import { parsePortRange, portHint, type PortRange } from "../values/ports.ts";
import {
  bool,
  list,
  mappingOr,
  NAME,
  named,
  object,
  oneOf,
  oneOrMore,
  optional,
  required,
  type Schema,
  section,
  text,
  words,
} from "../values/schema.ts";
import {
  durationHint,
  parseDuration,
  parseHours,
  parseTime,
} from "../values/time.ts";
import type { ListenEntry } from "./config.ts";
import { fleet, matching } from "./fleet.ts";
import type { Argv, BackendName } from "../firewall/firewall.ts";

/** A program and its arguments. */
const argv = list(words) as Schema<readonly string[]> as Schema<Argv>;

/** Ports to open, or the name of a service, looked up later. */
const opening = text<PortRange | string>(
  "a service's name, all, tcp/PORT or udp/PORT",
  (value) =>
    value.includes("/")
      ? parsePortRange(value)
      : NAME.pattern.test(value)
      ? value
      : null,
  { hint: portHint },
);

/** A duration in seconds, at least 1. */
function duration(most?: number): Schema<number> {
  const wanted = `a duration such as 30s, 5m or 8h, at least 1s` +
    (most === undefined ? "" : ` and at most ${most}s`);
  return text(wanted, (value) => {
    const seconds = parseDuration(value);
    return seconds === null || seconds < 1 || seconds > (most ?? Infinity)
      ? null
      : seconds;
  }, {
    hint: (value) =>
      parseDuration(value) === null ? durationHint(value) : undefined,
  });
}

/** Longest `within`, seconds. */
export const MAX_WITHIN_SECONDS = 3600;

const hit = text("tcp/PORT or udp/PORT", parseHit, {
  json: { pattern: "^((tcp|udp)/[0-9]+|[0-9]+([/:](tcp|udp))?)$" },
});

const flag = text(
  `one of ${Object.keys(FLAG).join(", ")}, with "!" before it or without`,
  parseFlag,
);

/** A program and its arguments, or false for none. */
const program: Schema<Argv | false> = {
  read: (value, path, mistakes) =>
    value === false ? false : argv.read(value, path, mistakes),
  json: { anyOf: [argv.json, { const: false }] },
};

const prefix = text(
  "an address or a network such as 192.0.2.0/24",
  parsePrefix,
);

/** `sequences.NAME`. */
const sequence = object({
  knock: optional(oneOrMore(hit), null),
  one_time: optional(list(oneOrMore(hit)), null),
  within: optional(duration(MAX_WITHIN_SECONDS), 5),
  open: optional(oneOrMore(opening), []),
  from: optional(oneOrMore(prefix), null),
  for: optional(duration(), null),
  once: optional(bool, false),
  close: optional(oneOrMore(hit), null),
  run: optional(program, null),
  run_ipv6: optional(program, null),
  run_after: optional(program, null),
  run_after_ipv6: optional(program, null),
  every: optional(duration(), null),
  flags: optional(oneOrMore(flag), null),
  target: optional(text("an address", parseAddress), null),
  watch: optional(oneOf(["kernel", "sniff", "socket"]), null),
});

/** Reads a flag of TCP that must be set, or after "!" must be clear. */
function parseFlag(value: string): Flags | null {
  const name = value.toLowerCase().replace(/^!/, "");
  if (!Object.hasOwn(FLAG, name)) return null;
  const bit = FLAG[name as FlagName];
  return value.startsWith("!")
    ? { set: 0, clear: bit }
    : { set: bit, clear: 0 };
}

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
  hint: portHint,
  json: { pattern: "^(tcp|udp)/[0-9]+(-[0-9]+)?$" },
});

const target = text("HOST:PORT", (value): Endpoint | null => {
  const endpoint = parseEndpoint(value);
  return endpoint && endpoint.port > 0 ? endpoint : null;
});

/** Name of an interface of Linux; no pattern, and nothing that `ip link` shows behind "@". */
const interfaceName = matching(
  "the name of an interface such as eth0, as `ip link` shows it before any @",
  /^[A-Za-z0-9_.-]{1,15}$/,
);

const listen = text<ListenEntry>(
  `PORT, "ADDRESS:PORT" or "[IPV6]:PORT", or one of them after sniff/, tcp/ ` +
    "or http/",
  parseListen,
);

const time = text(
  "a time such as 2027-01-01T00:00:00Z",
  parseTime,
  { json: { format: "date-time" } },
);

const hours = text(`hours such as "mon-fri 08:00-18:00"`, parseHours);

/** A host, by its address or its name. */
const host = text(
  "an address or a host's name",
  (value) =>
    parseAddress(value) ??
      (/^(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})$/.test(value)
        ? value
        : null),
);

const service = mappingOr(
  object({
    listen: required(oneOrMore(ports)),
    to: optional(target, null),
    masquerade: optional(bool, false),
    kill: optional(bool, false),
    cut: optional(bool, false),
    at: optional(oneOrMore(host), null),
  }),
  oneOrMore(ports),
);

/** Length of a network, no wider than its first bits allow. */
function prefixBits(least: number, most: number): Schema<number> {
  return text(
    `the bits of a network, ${least} to ${most}`,
    (value) => {
      const bits = /^\d{1,3}$/.test(value) ? Number(value) : 0;
      return least <= bits && bits <= most ? bits : null;
    },
    { json: { type: "integer", minimum: least, maximum: most } },
  );
}

/** `clients.NAME`. */
export const client = object({
  ...CLIENT_FIELDS,
  open: optional(oneOrMore(opening, { empty: true }), []),
  for: optional(duration(), null),
  max_for: optional(duration(), null),
  from: optional(oneOrMore(prefix), null),
  network: optional(
    object({
      ipv4: optional(prefixBits(WIDEST_NETWORK[4], 32), null),
      ipv6: optional(prefixBits(WIDEST_NETWORK[6], 128), null),
    }),
    null,
  ),
  require_address: optional(bool, false),
  any_address: optional(bool, false),
  expires: optional(time, null),
  hours: optional(hours, null),
  code: optional(words, null),
  once: optional(bool, false),
  web: optional(bool, false),
  run: optional(oneOrMore(words), []),
});

/** The proxies that `verify` believes where it names none: this machine's own. */
const LOOPBACK = ["127.0.0.0/8", "::1"].map((own) => parsePrefix(own)!);

/** The whole of `server.yaml`. */
export const serverSchema = object({
  listen: optional(oneOrMore(listen), [
    { host: "::", port: DEFAULT_PORT } as ListenEntry,
  ]),
  key: optional(words, "server.key"),
  max_skew: optional(duration(MAX_SKEW_SECONDS), 120),
  reply: optional(bool, true),
  state: optional(words, null),
  firewall: section(object({
    backend: optional(oneOf(BACKENDS), "nft"),
    mode: optional(oneOf(["guard", "accept"]), "guard"),
    chain: optional(words, null),
    interfaces: optional(oneOrMore(interfaceName), []),
    prefilter: optional(oneOf(["auto", "nft", "xdp", "off"]), "auto"),
    refuse: optional(oneOf(["drop", "reject"]), "drop"),
    open: optional(argv, null),
    close: optional(argv, null),
  })),
  services: section(named(NAME, service)),
  defaults: section(object({
    for: optional(duration(), 30),
    max_for: optional(duration(), 8 * 3600),
  })),
  clients: section(named(NAME, client)),
  ...OWN_FIELDS,
  sequences: section(named(NAME, sequence)),
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
  verify: optional(
    object({
      listen: required(target),
      trust: optional(oneOrMore(prefix), LOOPBACK),
    }),
    null,
  ),
  fleet: optional(fleet, null),
});

/** `server.yaml` as it was read, before its parts were held against each other. */
export type ServerYaml = Read<typeof serverSchema>;
export type ServiceYaml = Read<typeof service>;
export type ClientYaml = Read<typeof client>;
export type SequenceYaml = Read<typeof sequence>;

type Read<S> = S extends Schema<infer T> ? T : never;

/** Reads `PORT`, `ADDRESS:PORT` or `[IPV6]:PORT`, or `TRANSPORT/` and one; "::" is every address. */
export function parseListen(value: string): ListenEntry | null {
  const transport = /^(?:udp|sniff|tcp|http)(?=\/)/.exec(value)?.[0];
  const place = transport ? value.slice(transport.length + 1) : value;
  const endpoint = /^\d{1,5}$/.test(place)
    ? { host: "::", port: Number(place) }
    : parseEndpoint(place);
  if (!endpoint || endpoint.port < 1 || endpoint.port > 65535) return null;
  if (parseAddress(endpoint.host) === null) return null;
  return transport === undefined || transport === "udp"
    ? endpoint
    : { ...endpoint, transport: transport as "sniff" | "tcp" | "http" };
}
