/** New clients of openme's. */

import {
  formatOpenmeProfiles,
  formatOpenmeQr,
} from "../../config/convert/openme/client.ts";
import {
  SIGNING_KEY_SIZE,
  verifyingKeyOf,
} from "../../dialects/crypto/ed25519.ts";
import { OPENME_PORT } from "../../dialects/openme/open.ts";
import { parseOpenmeKey } from "../../dialects/openme/keys.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { formatBase64 } from "../../values/base64.ts";
import { counted } from "../../values/counted.ts";
import { UsageError } from "../../values/errors.ts";
import type { Adding, NewKeys } from "./enrolling.ts";
import { formatJson } from "../../values/text.ts";

/** The profile that openme's command line takes where none is named. */
const PROFILE = "default";

/** Makes a client's keys, or takes its public one, and writes its client file. */
export function enrolOpenme(adding: Adding): NewKeys {
  const { runtime, options, config, policy } = adding;
  const given = options.value("key");
  const seed = given === undefined ? runtime.random(SIGNING_KEY_SIZE) : null;
  const key = seed ? verifyingKeyOf(seed) : parseOpenmeKey(given!);
  if (!key) {
    // It may be the private key by mistake: it is not repeated.
    throw new UsageError(
      `--key must be a public key of 32 bytes in base64, ` +
        `got ${counted(given!.length, "character")}`,
    );
  }
  const server = adding.server(OPENME_PORT);
  const profile = {
    name: PROFILE,
    server,
    serverKey: publicKeyOf(config.openme.key!),
    seed,
    key,
    postKnock: null,
  };
  return {
    keys: `openme: { key: ${formatJson(formatBase64(key))} }`,
    server,
    files: [],
    out: formatOpenmeProfiles([profile]),
    qr: seed ? formatOpenmeQr(profile) : null,
    hints: [
      `the client file is ~/.openme/config.yaml there, 0600; then type: ` +
      `openme knock`,
      `where it has a profile "${PROFILE}" already, call this one ` +
      `"${policy.name}", and type: openme knock ${policy.name}`,
    ],
  };
}
