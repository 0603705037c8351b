/** openme's client files, and the keys of a new client. */

import { type Endpoint, parseEndpoint } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { counted, formatJson } from "../../values/text.ts";
import {
  type Foreign,
  parsePort,
  readForeign,
  scalar,
} from "../../values/yaml.ts";
import {
  publicKeyOf,
  SIGNING_KEY_SIZE,
  verifyingKeyOf,
} from "../crypto/curve25519.ts";
import type { ClientFiles, Enrolling, NewKeys, ServerKeys } from "../keys.ts";
import { formatOpenmeSeed, parseOpenmeKey, parseOpenmeSeed } from "./keys.ts";
import { OPENME_PORT } from "./open.ts";

/** Profile of an openme client for one server. */
export interface OpenmeProfile {
  readonly name: string;
  readonly server: Endpoint;
  /** The server's X25519 public key, 32 bytes. */
  readonly serverKey: Uint8Array;
  /** The seed of the client's Ed25519 key, 32 bytes; null where the file leaves it out. */
  readonly seed: Uint8Array | null;
  /** The client's Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array;
  /** A shell command for after the knock; null = none. */
  readonly postKnock: string | null;
}

/** Names of the same things in the two forms. */
const YAML_NAMES = {
  host: "server_host",
  port: "server_udp_port",
  server: "server_pubkey",
  secret: "private_key",
  key: "public_key",
};
const QR_NAMES: typeof YAML_NAMES = {
  host: "host",
  port: "udp_port",
  server: "server_pubkey",
  secret: "client_privkey",
  key: "client_pubkey",
};

/** Writes a profile as the JSON that openme's apps scan as a QR code. */
export function formatOpenmeQr(profile: OpenmeProfile): string {
  return formatJson({
    profile: profile.name,
    ...fields(profile, QR_NAMES),
  });
}

/** Writes profiles as openme's client file. It holds private keys: mode 0600. */
export function formatOpenmeProfiles(
  profiles: readonly OpenmeProfile[],
): string {
  const lines = ["profiles:"];
  for (const profile of profiles) {
    lines.push(`  ${scalar(profile.name)}:`);
    const written = Object.entries(fields(profile, YAML_NAMES));
    if (profile.postKnock !== null) {
      written.push(["post_knock", profile.postKnock]);
    }
    for (const [key, value] of written) {
      const text = typeof value === "number" ? value : formatJson(value);
      lines.push(`    ${key}: ${text}`);
    }
  }
  return lines.join("\n") + "\n";
}

function fields(
  { server, serverKey, seed, key }: OpenmeProfile,
  keys: typeof YAML_NAMES,
): Record<string, string | number> {
  return {
    [keys.host]: server.host,
    [keys.port]: server.port,
    [keys.server]: serverKey.toBase64(),
    ...seed && { [keys.secret]: formatOpenmeSeed(seed) },
    [keys.key]: key.toBase64(),
  };
}

// Reading the same: `config.yaml` with its profiles, or the JSON of a QR code,
// which holds one.

/** Reads the profiles of either form. Throws ConfigError with every mistake. */
export function parseOpenmeProfiles(
  text: string,
  file: string,
): OpenmeProfile[] {
  return readForeign(text, file, (root) => {
    if (!root.has("profiles")) {
      const name = root.value("profile", "a name", (text) => text, {
        fallback: "default",
      });
      const profile = readProfile(root, name!, QR_NAMES);
      return profile && [profile];
    }
    const profiles = root.section("profiles");
    return profiles.keys.flatMap((name) =>
      readProfile(profiles.section(name), name, YAML_NAMES) ?? []
    );
  });
}

function readProfile(
  foreign: Foreign,
  name: string,
  keys: typeof YAML_NAMES,
): OpenmeProfile | undefined {
  const host = foreign.value(
    keys.host,
    "a name or an address",
    (text) => parseEndpoint(text, OPENME_PORT)?.host ?? null,
  );
  const port = foreign.value(keys.port, "1 to 65535", parsePort, {
    fallback: OPENME_PORT,
  });
  const serverKey = foreign.value(keys.server, KEY, parseOpenmeKey);
  const seed = foreign.value(
    keys.secret,
    "a key of 32 or 64 bytes in base64",
    parseOpenmeSeed,
    { fallback: null, secret: true },
  );
  const derived = seed ? verifyingKeyOf(seed) : null;
  const key = foreign.value(
    keys.key,
    KEY,
    parseOpenmeKey,
    derived ? { fallback: derived } : {},
  );
  const postKnock = foreign.value("post_knock", "text", (text) => text, {
    fallback: null,
  });
  if (!host || !port || !serverKey || !key) return undefined;
  if (seed === undefined || postKnock === undefined) return undefined;
  if (derived && derived.toBase64() !== key.toBase64()) {
    foreign.wrong(keys.key, `must belong to ${keys.secret}, got another`);
    return undefined;
  }
  return { name, server: { host, port }, serverKey, seed, key, postKnock };
}

const KEY = "a key of 32 bytes in base64";

/** openme's client file, and the JSON of its QR codes, for `knock import`. */
export const openmeFiles: ClientFiles = {
  recognises: (text) => /["']?server_pubkey["']?\s*:/.test(text),
  read: (text, file) =>
    parseOpenmeProfiles(text, file).map((profile) => {
      const { name, server, serverKey, seed, postKnock } = profile;
      if (!seed) {
        throw new UsageError(
          `${file}: "${name}" has no private key: its client keeps it elsewhere`,
        );
      }
      const openme = {
        server: serverKey.toBase64(),
        key: formatOpenmeSeed(seed),
      };
      const notes = postKnock === null ? [] : [
        `post_knock of "${name}" is not carried over: \`knock exec PROFILE -- ` +
        `COMMAND\` knocks and then runs a command`,
      ];
      return { name, server, keys: { openme }, notes };
    }),
};

/** The profile that openme's command line takes where none is named. */
const PROFILE = "default";

/** Makes a client's keys, or takes its public one, and writes its client file. */
export function enrolOpenme(asked: Enrolling, keys: ServerKeys): NewKeys {
  const { key: given, name } = asked;
  const seed = given === undefined ? asked.random(SIGNING_KEY_SIZE) : null;
  const key = seed ? verifyingKeyOf(seed) : parseOpenmeKey(given!);
  if (!key) {
    // It may be the private key by mistake: it is not repeated.
    throw new UsageError(
      `--key must be a public key of 32 bytes in base64, ` +
        `got ${counted(given!.length, "character")}`,
    );
  }
  const server = asked.server(OPENME_PORT);
  const profile = {
    name: PROFILE,
    server,
    serverKey: publicKeyOf(keys.openme.key!),
    seed,
    key,
    postKnock: null,
  };
  return {
    keys: `openme: { key: ${formatJson(key.toBase64())} }`,
    server,
    files: [],
    out: formatOpenmeProfiles([profile]),
    qr: seed ? formatOpenmeQr(profile) : null,
    hints: [
      `the client file is ~/.openme/config.yaml there, 0600; then type: ` +
      `openme knock`,
      `where it has a profile "${PROFILE}" already, call this one ` +
      `"${name}", and type: openme knock ${name}`,
    ],
  };
}
