/** New clients of OpenSPA's. */

import { formatOspa } from "../../config/convert/ospa.ts";
import { pathBeside } from "../../config/files/places.ts";
import {
  formatAdkSecret,
  OPENSPA_PORT,
  parseRsaPrivateKey,
  rsaPublicPem,
} from "../../dialects/openspa/open.ts";
import { UsageError } from "../../values/errors.ts";
import { formatUuid, newUuid } from "../../values/uuid.ts";
import { scalar } from "../../config/files/write.ts";
import { openspaFileOf } from "./client_code.ts";
import type { Adding, NewKeys } from "./enrolling.ts";

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
