/** OpenSPA's client file (OSPA, version 0.2), and the keys of a new client. */

import { type Endpoint, parseEndpoint } from "../../values/address.ts";
import { formatUuid, newUuid, parseUuid } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { formatJson } from "../../values/text.ts";
import { parsePort, readForeign, scalar } from "../../values/yaml.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  rsaPublicPem,
} from "../crypto/rsa.ts";
import type { ClientFiles, Enrolling, NewKeys, ServerKeys } from "../keys.ts";
import { formatAdkSecret, parseAdkSecret } from "./adk.ts";
import { openspaClient, RSA_BITS } from "./keys.ts";
import { OPENSPA_PORT } from "./open.ts";
import { UUID_SIZE } from "./payload.ts";

const OSPA_VERSION = "0.2";
/** The cipher suite's name, as OpenSPA's own verification wants it. */
const OSPA_SUITE = "CipherSuite_RSA_SHA256_AES256CBC";
/** Names of it that are read: earlier files of ours have the second. */
const SUITES: readonly unknown[] = [OSPA_SUITE, "CipherRSA_SHA256_AES256CBC"];

/** Contents of an OSPA file. Keys are PEM, of RSA with 2048 to 4096 bits. */
export interface Ospa {
  /** In lowercase, with hyphens. */
  readonly uuid: string;
  readonly server: Endpoint;
  /** 7 characters of base32; null where the server wants no ADK proof. */
  readonly adkSecret: string | null;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly serverKey: string;
}

/** Writes an OSPA file. It holds the private key: mode 0600. */
export function formatOspa(ospa: Ospa): string {
  const { uuid, server, adkSecret, privateKey, publicKey, serverKey } = ospa;
  return `version: "${OSPA_VERSION}"
clientUUID: "${uuid}"
serverHost: ${formatJson(server.host)}
serverPort: ${server.port}
adk:
  secret: "${adkSecret ?? ""}"
crypto:
  cipherSuitePriority:
    - "${OSPA_SUITE}"
  rsa:
    client:
      privateKey: |
${pem(privateKey)}
      publicKey: |
${pem(publicKey)}
    server:
      publicKey: |
${pem(serverKey)}
`;
}

function pem(text: string): string {
  return text.trim().replace(/^/gm, " ".repeat(8));
}

/** Reads an OSPA file. Throws ConfigError with every mistake. */
export function parseOspa(text: string, file: string): Ospa {
  return readForeign(text, file, (root): Ospa | undefined => {
    root.value(
      "version",
      `"${OSPA_VERSION}"`,
      (text) => text === OSPA_VERSION || null,
    );
    const uuid = root.value("clientUUID", "a UUID", (text) => {
      const bytes = parseUuid(text);
      return bytes && formatUuid(bytes);
    });
    const host = root.value("serverHost", "a name or an address", (text) => {
      return parseEndpoint(text, OPENSPA_PORT)?.host ?? null;
    });
    const port = root.value("serverPort", "1 to 65535", parsePort, {
      fallback: OPENSPA_PORT,
    });
    const adkSecret = root.section("adk").value(
      "secret",
      "7 characters of base32",
      (text) => parseAdkSecret(text) ? text : null,
      { fallback: null, secret: true },
    );
    const crypto = root.section("crypto");
    const suites = crypto.raw("cipherSuitePriority");
    if (
      suites !== undefined &&
      !(Array.isArray(suites) && suites.some((name) => SUITES.includes(name)))
    ) {
      crypto.wrong("cipherSuitePriority", `must have "${OSPA_SUITE}" among it`);
    }
    const rsa = crypto.section("rsa");
    const client = rsa.section("client");
    const shared = (text: string) => parseRsaPublicKey(text) ? text : null;
    const privateKey = client.value(
      "privateKey",
      "a private key in PEM, of RSA with 2048 to 4096 bits",
      (text) => parseRsaPrivateKey(text) ? text : null,
      { secret: true },
    );
    const publicKey = client.value("publicKey", PUBLIC_KEY, shared, HIDDEN);
    const serverKey = rsa.section("server")
      .value("publicKey", PUBLIC_KEY, shared, HIDDEN);
    if (!uuid || !host || !port || adkSecret === undefined) return undefined;
    if (!privateKey || !publicKey || !serverKey) return undefined;
    const server = { host, port };
    return { uuid, server, adkSecret, privateKey, publicKey, serverKey };
  });
}

const PUBLIC_KEY = "a public key in PEM, of RSA with 2048 to 4096 bits";
/** Whoever took the wrong key of the two must not see it in a message. */
const HIDDEN = { secret: true };

/** OSPA files, for `knock import`. */
export const openspaFiles: ClientFiles = {
  recognises: (text) => /^["']?clientUUID["']?\s*:/m.test(text),
  read(text, file) {
    const { uuid, server, adkSecret, privateKey, serverKey } = //
      parseOspa(text, file);
    const openspa = {
      uuid,
      key: privateKey,
      server: serverKey,
      ...adkSecret === null ? {} : { adk_secret: adkSecret },
    };
    const name = /([^/\\]+)\.(?:ospa|ya?ml)$/i.exec(file)?.[1] ?? null;
    const notes = [
      "OpenSPA names one port or range with each knock: --open tcp/22, or " +
      "open: tcp/22 in the profile",
      "its client asks a web server for the address to open for: where the " +
      "server sees another than this machine has, from: resolve does so here",
    ];
    return [{ name, server, keys: { openspa }, notes }];
  },
};

/** Makes a client's keys and its OSPA file. */
export function enrolOpenspa(asked: Enrolling, keys: ServerKeys): NewKeys {
  if (asked.key !== undefined) {
    throw new UsageError(
      "--key is not for openspa",
      "write the entry by hand: openspa: { uuid: UUID, key: FILE.pem }",
    );
  }
  const uuid = formatUuid(newUuid(asked.random(UUID_SIZE)));
  const privateKey = asked.rsaPrivateKey(RSA_BITS);
  const publicKey = rsaPublicPem(parseRsaPrivateKey(privateKey)!);
  const server = asked.server(OPENSPA_PORT);
  const { key: own, adkSecret } = keys.openspa;
  const ospa = formatOspa({
    uuid,
    server,
    adkSecret: adkSecret && formatAdkSecret(adkSecret),
    privateKey,
    publicKey,
    serverKey: rsaPublicPem(own!),
  });
  const keyFile = openspaClient.file!.of(asked.name);
  const file = `${asked.name}.ospa`;
  return {
    keys: `openspa: { uuid: ${uuid}, key: ${scalar(keyFile)} }`,
    server,
    files: [
      { name: keyFile, data: publicKey },
      { name: file, data: ospa, isOutput: true },
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
