/** A new client of fwknop's: its keys, and the stanza for its `.fwknoprc`. */

import { DEFAULT_PORT } from "../../config/shape.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { formatPortRange } from "../../values/ports.ts";
import type { Adding, NewKeys } from "./enrolling.ts";

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
