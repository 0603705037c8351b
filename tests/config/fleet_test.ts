/** The `fleet` section: what it is read as, and what is wrong with it. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { parseConfig } from "../../lib/config/read.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { ConfigError } from "../../lib/values/errors.ts";
import type { KeyKind, KeyRead } from "../../lib/values/schema.ts";

const CERTIFICATE =
  "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----";
const KEY =
  "-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----";
const SECRET = new Uint8Array(32).fill(5);

const FILES: Readonly<Record<string, string>> = {
  "fleet.secret": formatBase64url(SECRET),
  "ca.pem": CERTIFICATE,
  "gw1.pem": CERTIFICATE,
  "gw1.key": KEY,
  "password": "correct horse",
  "gw1.creds": "-----BEGIN NATS USER JWT-----\ne30\n",
};

function read<T extends object>(name: string, kind: KeyKind<T>): KeyRead<T> {
  const text = FILES[name];
  if (text === undefined) return { ok: true, key: null };
  const key = kind.parse(text);
  return key
    ? { ok: true, key }
    : { ok: false, mistake: { text: `"${name}" must hold ${kind.wanted}` } };
}

function parse(fleet: string) {
  return parseConfig(`reply: true\nfleet: { ${fleet} }`, {
    file: "server.yaml",
    readKey: () => new Uint8Array(32).fill(1),
    readCode: () => new Uint8Array(20),
    readOther: read,
    hostName: "gw7.example.org",
    stateFolder: () => "/state",
  }).fleet;
}

const ONE = `engine: etcd, servers: "https://10.0.0.1:2379"`;
const NATS = `engine: nats, servers: "tls://10.0.0.1:4222"`;

test("a fleet is read with the files that it names", () => {
  assertEquals(parse(ONE), {
    engine: "etcd",
    servers: ["https://10.0.0.1:2379"],
    name: "gw7",
    prefix: "knock",
    secret: SECRET,
    tls: { ca: null, cert: null, key: null },
    user: null,
    token: null,
    credentials: null,
    without: "refuse",
    staleMs: 3_600_000,
  });
  assertEquals(
    parse(
      `engine: etcd, servers: ["https://a:2379", "https://[::1]:2379"], ` +
        `name: gw1, prefix: knock/home, stale: 10s, without: local, ` +
        `tls: { ca: ca.pem, cert: gw1.pem, key: gw1.key }, ` +
        `user: knock, password_file: password`,
    ),
    {
      engine: "etcd",
      servers: ["https://a:2379", "https://[::1]:2379"],
      name: "gw1",
      prefix: "knock/home",
      secret: SECRET,
      tls: { ca: CERTIFICATE, cert: CERTIFICATE, key: KEY },
      user: { name: "knock", password: "correct horse" },
      token: null,
      credentials: null,
      without: "local",
      staleMs: 10_000,
    },
  );
});

test("for NATS a password is a user's, or a token; or there are credentials", () => {
  const of = (more: string) => {
    const { user, token, credentials } = parse(`${NATS}${more}`)!;
    return { user, token, credentials };
  };
  const none = { user: null, token: null, credentials: null };
  assertEquals(of(""), none);
  assertEquals(of(", user: knock, password_file: password"), {
    ...none,
    user: { name: "knock", password: "correct horse" },
  });
  assertEquals(of(", password_file: password"), {
    ...none,
    token: "correct horse",
  });
  assertEquals(of(", creds_file: gw1.creds"), {
    ...none,
    credentials: FILES["gw1.creds"],
  });
});

const WRONG: readonly (readonly [fleet: string, mistakes: string[]])[] = [
  [`servers: "https://a:1"`, ["fleet.engine: is missing"]],
  ["engine: etcd", ["fleet.servers: is missing"]],
  [`engine: redis, servers: "https://a:1"`, [
    `fleet.engine: must be etcd or nats, got "redis"`,
  ]],
  [`engine: etcd, servers: "10.0.0.1"`, [
    "fleet.servers: must be an address such as https://10.0.0.1:2379, or " +
    `nats://10.0.0.1:4222, got "10.0.0.1"`,
  ]],
  [`engine: etcd, servers: "nats://a:4222"`, [
    "fleet.servers: must begin with https:// or http:// for etcd, got " +
    `"nats://a:4222"`,
  ]],
  [`engine: etcd, servers: "http://a:1", tls: { ca: ca.pem }`, [
    "fleet.tls: must be absent where a server is http://",
  ]],
  [`${ONE}, tls: { cert: gw1.pem }`, [
    "fleet.tls: must have cert and key, or none of them, got one",
  ]],
  [`${ONE}, tls: { ca: none.pem }`, [`fleet.tls.ca: "none.pem" is missing`]],
  [`${ONE}, tls: { ca: gw1.key }`, [
    `fleet.tls.ca: "gw1.key" must hold certificates in PEM`,
  ]],
  [`${ONE}, user: knock`, [
    "fleet.password_file: is missing: user and password_file belong together",
  ]],
  [`${ONE}, password_file: password`, [
    "fleet.user: is missing: user and password_file belong together",
  ]],
  [`${NATS}, user: knock, password_file: password, creds_file: gw1.creds`, [
    "fleet.creds_file: must be absent where there is a password_file",
  ]],
  [`${NATS}, user: knock`, [
    "fleet.password_file: is missing: user and password_file belong together",
  ]],
  [`engine: nats, servers: "nats://a:4222", tls: { ca: ca.pem }`, [
    "fleet.tls: must be absent where a server is nats://",
  ]],
  [`engine: nats, servers: "https://a:4222"`, [
    "fleet.servers: must begin with tls:// or nats:// for nats, got " +
    `"https://a:4222"`,
  ]],
  [`${NATS}, prefix: knock/my_home`, [
    `fleet.prefix: must be without "_" for nats, got "knock/my_home"`,
  ]],
  [`${ONE}, creds_file: password`, [
    "fleet.creds_file: must be absent for etcd: it is for nats",
    `fleet.creds_file: "password" must hold credentials of NATS`,
  ]],
  [`${ONE}, secret: other`, [`fleet.secret: "other" is missing`]],
  [`${ONE}, secret: password`, [
    `fleet.secret: "password" must hold a secret of 43 base64url characters`,
  ]],
  [`${ONE}, prefix: "/x"`, [
    `fleet.prefix: must be letters, digits, "_" and "-" in parts with "/" ` +
    `between, such as knock/home, got "/x"`,
  ]],
  [`${ONE}, stale: 5s`, [
    `fleet.stale: must be a duration such as 1h, at least 10s, got "5s"`,
  ]],
  [`${ONE}, without: open`, [
    `fleet.without: must be refuse or local, got "open"`,
  ]],
  [`${ONE}, name: "a b"`, [
    `fleet.name: must be 1 to 64 letters, digits, ".", "_" or "-" with a ` +
    `letter or digit first, got "a b"`,
  ]],
];

test("each mistake of a fleet has its message", () => {
  for (const [fleet, mistakes] of WRONG) {
    let found: readonly string[] = [];
    try {
      parse(fleet);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      found = error.lines;
    }
    assertEquals(found, mistakes.map((one) => `server.yaml: ${one}`), fleet);
  }
});
