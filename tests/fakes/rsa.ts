/** RSA keys for tests, of the vectors: making one takes long. */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import vectors from "../vectors/openspa.json" with { type: "json" };

function privateKey(der: string): KeyObject {
  const key = Buffer.from(der, "hex");
  return createPrivateKey({ key, format: "der", type: "pkcs1" });
}

/** A server's. */
export const RSA_PRIVATE = privateKey(vectors.server_private_pkcs1_der_hex);
export const RSA_PUBLIC = createPublicKey(RSA_PRIVATE);
export const RSA_PRIVATE_PEM = privatePem(RSA_PRIVATE);
export const RSA_PUBLIC_PEM = publicPem(RSA_PUBLIC);
/** A client's. */
export const CLIENT_PRIVATE = privateKey(vectors.client_private_pkcs1_der_hex);
export const CLIENT_PUBLIC = createPublicKey(CLIENT_PRIVATE);
export const CLIENT_PRIVATE_PEM = privatePem(CLIENT_PRIVATE);
export const CLIENT_PUBLIC_PEM = publicPem(CLIENT_PUBLIC);

function privatePem(key: KeyObject): string {
  return String(key.export({ format: "pem", type: "pkcs1" }));
}

function publicPem(key: KeyObject): string {
  return String(key.export({ format: "pem", type: "spki" }));
}
