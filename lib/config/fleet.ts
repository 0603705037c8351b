/** `fleet`: its shape, and its reading with the files that it names. */

import type { EngineName, FleetConfig } from "../fleet/fleet.ts";
import { parseKey } from "../dialects/knock1/keys.ts";
import {
  type KeyKind,
  type Mistake,
  NAME,
  object,
  oneOf,
  oneOrMore,
  optional,
  type ReadKey,
  required,
  type Schema,
  section,
  show,
  text,
  words,
} from "../values/schema.ts";
import { parseDuration } from "../values/time.ts";

/** The engines of a fleet. */
export const ENGINES: readonly EngineName[] = ["etcd", "nats"];

const prefix = matching(
  `letters, digits, "_" and "-" in parts with "/" between, such as knock/home`,
  /^(?=.{1,64}$)[\w-]+(\/[\w-]+)*$/,
);

const server = matching(
  `an address such as https://10.0.0.1:2379, or nats://10.0.0.1:4222`,
  /^(https?|nats|tls):\/\/([\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$/,
);

const stale = text("a duration such as 1h, at least 10s", (value) => {
  const seconds = parseDuration(value);
  return seconds !== null && seconds >= 10 ? seconds : null;
});

/** Text that a pattern takes. */
export function matching(wanted: string, pattern: RegExp): Schema<string> {
  return text(wanted, (value) => pattern.test(value) ? value : null);
}

/** The `fleet` section. */
export const fleet = object({
  engine: required(oneOf(ENGINES), "etcd"),
  servers: required(oneOrMore(server), []),
  name: optional(matching(NAME.wanted, NAME.pattern), null),
  prefix: optional(prefix, "knock"),
  secret: optional(words, "fleet.secret"),
  tls: section(object({
    ca: optional(words, null),
    cert: optional(words, null),
    key: optional(words, null),
  })),
  user: optional(words, null),
  password_file: optional(words, null),
  creds_file: optional(words, null),
  without: optional(oneOf(["refuse", "local"]), "refuse"),
  stale: optional(stale, 3600),
});

type FleetYaml = typeof fleet extends Schema<infer T> ? T : never;

/** Protocols of the addresses of each engine's servers: with TLS, without. */
const PROTOCOLS = {
  etcd: ["https", "http"],
  nats: ["tls", "nats"],
} as const;

const SECRET: KeyKind<Uint8Array> = {
  parse: parseKey,
  wanted: "a secret of 43 base64url characters",
  secret: true,
};

/** A file that is used as it is, if the pattern is in it. */
function textKind(wanted: string, pattern: RegExp, secret = true) {
  const parse = (text: string) => pattern.test(text) ? { text } : null;
  return { parse, wanted, secret };
}

const CERTIFICATE = textKind(
  "certificates in PEM",
  /^-----BEGIN CERTIFICATE-----/m,
  false,
);
const PRIVATE_KEY = textKind(
  "a private key in PEM",
  /^-----BEGIN [A-Z ]*PRIVATE KEY-----/m,
);
const PASSWORD = textKind("a password on one line", /^[^\n]+$/);
const CREDENTIALS = textKind(
  "credentials of NATS",
  /^-----BEGIN NATS USER JWT-----/m,
);

/** Reads the section; null where there is none, or with mistakes. */
export function readFleet(
  yaml: FleetYaml | null,
  hostName: string,
  readKey: ReadKey | undefined,
  mistakes: Mistake[],
): FleetConfig | null {
  if (!yaml) return null;
  const before = mistakes.length;
  const say = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: `fleet.${key}`, text, hint });
  const read = <T extends object>(
    key: string,
    file: string | null,
    kind: KeyKind<T>,
    missing?: string,
  ): T | null => {
    if (file === null) return null;
    const found = readKey?.(file, kind) ?? { ok: true, key: null };
    if (!found.ok) mistakes.push({ path: `fleet.${key}`, ...found.mistake });
    else if (!found.key) say(key, `"${file}" is missing`, missing);
    return found.ok ? found.key : null;
  };
  const { engine, servers, user, password_file, creds_file, tls } = yaml;

  const [safe, open] = PROTOCOLS[engine];
  for (const address of servers) {
    const [protocol] = address.split(":");
    if (protocol === safe || protocol === open) continue;
    const known = `${safe}:// or ${open}://`;
    const got = `got ${show(address)}`;
    say("servers", `must begin with ${known} for ${engine}, ${got}`);
  }
  const certificates = Object.values(tls).some((file) => file !== null);
  if (certificates && servers.some((one) => one.startsWith(`${open}:`))) {
    say("tls", `must be absent where a server is ${open}://`, `use ${safe}://`);
  }
  if (engine === "nats" && yaml.prefix.includes("_")) {
    say("prefix", `must be without "_" for nats, got ${show(yaml.prefix)}`);
  }
  if ((tls.cert === null) !== (tls.key === null)) {
    say("tls", "must have cert and key, or none of them, got one");
  }
  // Without a user, a password of NATS is a token.
  const isToken = engine === "nats" && user === null && password_file !== null;
  if (!isToken && (user === null) !== (password_file === null)) {
    const lacks = user === null ? "user" : "password_file";
    say(lacks, `is missing: user and password_file belong together`);
  }
  if (creds_file !== null && password_file !== null) {
    say("creds_file", "must be absent where there is a password_file");
  }
  if (creds_file !== null && engine !== "nats") {
    say("creds_file", `must be absent for ${engine}: it is for nats`);
  }
  const ownName = yaml.name ?? hostName.split(".")[0]!;
  if (!NAME.pattern.test(ownName)) {
    say("name", `is missing, and the host's name, ${show(ownName)}, is none`);
  }
  const secret = read(
    "secret",
    yaml.secret,
    SECRET,
    "`knock fleet init` makes it; on further gateways, copy it from the first",
  );
  type Kind = typeof PASSWORD;
  const textOf = (key: string, file: string | null, kind: Kind) =>
    read(key, file, kind)?.text ?? null;
  const ca = textOf("tls.ca", tls.ca, CERTIFICATE);
  const cert = textOf("tls.cert", tls.cert, CERTIFICATE);
  const key = textOf("tls.key", tls.key, PRIVATE_KEY);
  const password = textOf("password_file", password_file, PASSWORD);
  const credentials = textOf("creds_file", creds_file, CREDENTIALS);
  if (mistakes.length > before || !secret) return null;
  return {
    engine,
    servers,
    name: ownName,
    prefix: yaml.prefix,
    secret,
    tls: { ca, cert, key },
    user: user !== null && password ? { name: user, password } : null,
    token: isToken ? password : null,
    credentials,
    without: yaml.without,
    staleMs: yaml.stale * 1000,
  };
}
