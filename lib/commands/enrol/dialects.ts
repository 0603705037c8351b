/** What the enrolment of another tool's client begins with, and what it makes. */

import type { Config } from "../../config/config.ts";
import {
  formatOpenmeProfiles,
  formatOpenmeQr,
} from "../../config/convert/openme/client.ts";
import { formatOspa } from "../../config/convert/ospa.ts";
import { pathBeside } from "../../config/files/places.ts";
import { type NewEntry, scalar } from "../../config/files/write.ts";
import { DEFAULT_PORT } from "../../config/shape.ts";
import {
  publicKeyOf,
  SIGNING_KEY_SIZE,
  verifyingKeyOf,
} from "../../dialects/crypto/curve25519.ts";
import { parseRsaPrivateKey, rsaPublicPem } from "../../dialects/crypto/rsa.ts";
import { parseOpenmeKey } from "../../dialects/openme/keys.ts";
import { OPENME_PORT } from "../../dialects/openme/open.ts";
import { formatAdkSecret } from "../../dialects/openspa/adk.ts";
import { OPENSPA_PORT } from "../../dialects/openspa/open.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseAddress,
} from "../../values/address.ts";
import { formatBase64, formatUuid, newUuid } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import { counted, formatJson } from "../../values/text.ts";
import type { Options } from "../command.ts";
import { type NewFile, openspaFileOf } from "./new_files.ts";

/** What is asked for, and where to. */
export interface Adding {
  readonly runtime: Runtime;
  readonly options: Options;
  readonly config: Config;
  /** The configuration's text. */
  readonly text: string;
  /** The entry without its keys. */
  readonly policy: Omit<NewEntry, "keys">;
  /** How the client reaches the server: at this port if it listens there. */
  readonly server: (usualPort: number) => Endpoint;
}

/** What a new client of a dialect is made of. */
export interface NewKeys {
  /** A line of YAML for its entry. */
  readonly keys: string;
  readonly server: Endpoint;
  /** Files beside the configuration, and the client's own. */
  readonly files: readonly NewFile[];
  /** What goes to standard output: data, or where it is. */
  readonly out: string;
  /** What its apps scan; null where there are none. */
  readonly qr: string | null;
  readonly hints: readonly string[];
}

// A new client of fwknop's: its keys, and the stanza for its `.fwknoprc`.

/** Bytes of keys as `fwknop --key-gen` makes them. */
const KEY_SIZE = 32;
const HMAC_KEY_SIZE = 64;

/** Makes the keys of a client, and what goes to it. */
export function enrolFwknop(adding: Adding): NewKeys {
  const { runtime, options, policy, config } = adding;
  if (options.value("key") !== undefined) {
    throw new UsageError(
      "--key is for public keys, and fwknop's keys are shared",
      "leave it out: new keys are made",
    );
  }
  const server = adding.server(DEFAULT_PORT);
  const key = newKey(runtime, KEY_SIZE);
  const hmacKey = newKey(runtime, HMAC_KEY_SIZE);
  const access = policy.open.flatMap((entry) =>
    typeof entry === "string"
      ? config.services.find(({ name }) => name === entry)?.ports ?? []
      : [entry]
  ).filter(({ first, last }) => first === last).map(formatPortRange);
  const host = parseAddress(server.host) === null
    ? server.host
    : formatEndpoint({ ...server, port: 0 }).replace(/:0$/, "");
  const stanza = [
    `[${policy.name}]`,
    `SPA_SERVER          ${host}`,
    `SPA_SERVER_PORT     ${server.port}`,
    ...access.length > 0 ? [`ACCESS              ${access.join(",")}`] : [],
    "ALLOW_IP            source",
    `KEY_BASE64          ${key}`,
    `HMAC_KEY_BASE64     ${hmacKey}`,
    "HMAC_DIGEST_TYPE    SHA256",
    "USE_HMAC            Y",
  ];
  return {
    keys: `fwknop: { key_base64: "${key}", hmac_key_base64: "${hmacKey}" }`,
    server,
    files: [],
    out: stanza.map((line) => `${line}\n`).join(""),
    qr: null,
    hints: [
      `the stanza goes to the client's ~/.fwknoprc (mode 0600); then: ` +
      `fwknop -n ${policy.name}`,
    ],
  };
}

function newKey(runtime: Runtime, size: number): string {
  return runtime.random(size).toBase64();
}

// New clients of openme's.

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

// New clients of OpenSPA's.

const RSA_BITS = 2048;
const UUID_SIZE = 16;

/** Makes a client's keys and its OSPA file. */
export function enrolOpenspa(adding: Adding): NewKeys {
  const { runtime, options, config, policy } = adding;
  if (options.value("key") !== undefined) {
    throw new UsageError(
      "--key is not for openspa",
      "write the entry by hand: openspa: { uuid: UUID, key: FILE.pem }",
    );
  }
  const uuid = formatUuid(newUuid(runtime.random(UUID_SIZE)));
  const privateKey = runtime.rsaPrivateKey(RSA_BITS);
  const publicKey = rsaPublicPem(parseRsaPrivateKey(privateKey)!);
  const server = adding.server(OPENSPA_PORT);
  const { key: own, adkSecret } = config.openspa;
  const ospa = formatOspa({
    uuid,
    server,
    adkSecret: adkSecret && formatAdkSecret(adkSecret),
    privateKey,
    publicKey,
    serverKey: rsaPublicPem(own!),
  });
  const keyFile = openspaFileOf(policy.name);
  const file = `${policy.name}.ospa`;
  return {
    keys: `openspa: { uuid: ${uuid}, key: ${scalar(keyFile)} }`,
    server,
    files: [
      { path: pathBeside(runtime, config.file, keyFile), data: publicKey },
      { path: file, data: ospa, isOutput: true },
    ],
    out: `${file}\n`,
    qr: null,
    hints: [
      `${file} holds the client's private key: give it to nobody else, and ` +
      `remove it here`,
      ...adkSecret ? [] : [
        "without openspa.adk_secret strangers cost this server an RSA each: " +
        "set one that `knock keygen --adk` makes before more clients are " +
        "enrolled, as their files hold it",
      ],
    ],
  };
}
