/**
 * openme's client files: `config.yaml` with its profiles, and the JSON of its
 * QR codes, which holds one.
 * @module
 */

import { verifyingKeyOf } from "../../../dialects/crypto/curve25519.ts";
import {
  formatOpenmeSeed,
  parseOpenmeKey,
  parseOpenmeSeed,
} from "../../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../../dialects/openme/open.ts";
import { type Endpoint, parseEndpoint } from "../../../values/address.ts";
import { formatBase64 } from "../../../values/bytes.ts";
import { formatJson } from "../../../values/text.ts";
import { scalar } from "../../files/write.ts";
import { type Foreign, parsePort, readForeign } from "../foreign.ts";

/** How an openme client knocks at one server. */
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

/** How the two forms name the same things. */
interface Keys {
  readonly host: string;
  readonly port: string;
  readonly server: string;
  readonly secret: string;
  readonly key: string;
}

const YAML_KEYS: Keys = {
  host: "server_host",
  port: "server_udp_port",
  server: "server_pubkey",
  secret: "private_key",
  key: "public_key",
};
const QR_KEYS: Keys = {
  host: "host",
  port: "udp_port",
  server: "server_pubkey",
  secret: "client_privkey",
  key: "client_pubkey",
};

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
      const profile = readProfile(root, name!, QR_KEYS);
      return profile && [profile];
    }
    const profiles = root.section("profiles");
    return profiles.keys.flatMap((name) =>
      readProfile(profiles.section(name), name, YAML_KEYS) ?? []
    );
  });
}

/** Writes a profile as the JSON that openme's apps scan as a QR code. */
export function formatOpenmeQr(profile: OpenmeProfile): string {
  return formatJson({
    profile: profile.name,
    ...fields(profile, QR_KEYS),
  });
}

/** Writes profiles as openme's client file. It holds private keys: mode 0600. */
export function formatOpenmeProfiles(
  profiles: readonly OpenmeProfile[],
): string {
  const lines = ["profiles:"];
  for (const profile of profiles) {
    lines.push(`  ${scalar(profile.name)}:`);
    const written = Object.entries(fields(profile, YAML_KEYS));
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
  keys: Keys,
): Record<string, string | number> {
  return {
    [keys.host]: server.host,
    [keys.port]: server.port,
    [keys.server]: formatBase64(serverKey),
    ...seed && { [keys.secret]: formatOpenmeSeed(seed) },
    [keys.key]: formatBase64(key),
  };
}

function readProfile(
  foreign: Foreign,
  name: string,
  keys: Keys,
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
  if (derived && formatBase64(derived) !== formatBase64(key)) {
    foreign.wrong(keys.key, `must belong to ${keys.secret}, got another`);
    return undefined;
  }
  return { name, server: { host, port }, serverKey, seed, key, postKnock };
}

const KEY = "a key of 32 bytes in base64";
