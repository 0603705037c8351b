/** OpenSPA's client file (OSPA, version 0.2), and the keys of a new client. */

import type { Endpoint } from "../../values/address.ts";
import { formatUuid, newUuid } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { formatJson } from "../../values/text.ts";
import { scalar } from "../../values/yaml.ts";
import { parseRsaPrivateKey, rsaPublicPem } from "../crypto/rsa.ts";
import type { Enrolling, NewKeys } from "../dialect.ts";
import type { ServerKeys } from "../table.ts";
import { formatAdkSecret } from "./adk.ts";
import { openspaClient, RSA_BITS } from "./keys.ts";
import { OPENSPA_PORT } from "./open.ts";

/** Version of the files. */
export const OSPA_VERSION = "0.2";
/** The cipher suite's name, as OpenSPA's own verification wants it. */
export const OSPA_SUITE = "CipherSuite_RSA_SHA256_AES256CBC";
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

const UUID_SIZE = 16;

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
