/** Reading OpenSPA's client file (OSPA, version 0.2). */

import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
} from "../../dialects/crypto/rsa.ts";
import { parseAdkSecret } from "../../dialects/openspa/adk.ts";
import {
  type Ospa,
  OSPA_SUITE,
  OSPA_VERSION,
} from "../../dialects/openspa/enrol.ts";
import { OPENSPA_PORT } from "../../dialects/openspa/open.ts";
import { parseEndpoint } from "../../values/address.ts";
import { formatUuid, parseUuid } from "../../values/bytes.ts";
import { parsePort, readForeign } from "./foreign.ts";

/** Names of it that are read: earlier files of ours have the second. */
const SUITES: readonly unknown[] = [OSPA_SUITE, "CipherRSA_SHA256_AES256CBC"];

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
