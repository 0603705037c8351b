/**
 * openme's client files: `config.yaml` with its profiles, and the JSON of its
 * QR codes, which holds one.
 * @module
 */

import { verifyingKeyOf } from "../../../dialects/crypto/curve25519.ts";
import {
  type OpenmeNames,
  type OpenmeProfile,
  QR_NAMES,
  YAML_NAMES,
} from "../../../dialects/openme/enrol.ts";
import {
  parseOpenmeKey,
  parseOpenmeSeed,
} from "../../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../../dialects/openme/open.ts";
import { parseEndpoint } from "../../../values/address.ts";
import { formatBase64 } from "../../../values/bytes.ts";
import { type Foreign, parsePort, readForeign } from "../foreign.ts";

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
  keys: OpenmeNames,
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
