/** RSA keys for tests, of the vectors: making one takes long. */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey } from "node:crypto";
import vectors from "./vectors/openspa.json" with { type: "json" };

const pem = (der: string) =>
  String(
    createPrivateKey({
      key: Buffer.from(der, "hex"),
      format: "der",
      type: "pkcs1",
    }).export({ format: "pem", type: "pkcs1" }),
  );
const publicPem = (privatePem: string) =>
  String(createPublicKey(privatePem).export({ format: "pem", type: "spki" }));

/** A server's. */
export const RSA_PRIVATE_PEM = pem(vectors.server_private_pkcs1_der_hex);
export const RSA_PUBLIC_PEM = publicPem(RSA_PRIVATE_PEM);
/** A client's. */
export const CLIENT_PRIVATE_PEM = pem(vectors.client_private_pkcs1_der_hex);
export const CLIENT_PUBLIC_PEM = publicPem(CLIENT_PRIVATE_PEM);
