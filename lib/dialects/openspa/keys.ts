/** The keys of OpenSPA in server.yaml and profiles.yaml. */

import { formatUuid, parseUuid } from "../../values/bytes.ts";
import {
  object,
  optional,
  required,
  text,
  words,
} from "../../values/schema.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  type RsaKey,
} from "../crypto/rsa.ts";
import type { ClientPart, OwnKey, OwnPart } from "../dialect.ts";
import { parseAdkSecret } from "./adk.ts";

/** A client's UUID, 16 bytes, and its RSA public key. */
export interface OpenspaClientKeys {
  readonly uuid: Uint8Array;
  readonly key: RsaKey;
}

/** The server's own private key. */
export interface OpenspaOwnKey extends OwnKey<RsaKey> {
  /** The secret of its ADK proofs, 4 bytes; null = none is wanted. */
  readonly adkSecret: Uint8Array | null;
}

export interface OpenspaProfileKeys {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** The client's own private key. */
  readonly key: RsaKey;
  /** The server's public key. */
  readonly server: RsaKey;
  /** 4 bytes; null where the server wants no ADK proof. */
  readonly adk_secret: Uint8Array | null;
}

const SECRET = { secret: true } as const;
/** More would make each packet several times as costly. */
export const RSA_BITS = 2048;
const RSA_WORDS = "key in PEM, of RSA with 2048 to 4096 bits";

const uuid = text("a UUID", parseUuid, { json: { format: "uuid" } });
const adkSecret = text("7 characters of base32", parseAdkSecret, {
  secret: true,
  json: { pattern: "^[A-Z2-7]{7}$" },
});

/** `clients.NAME.openspa`. */
export const openspaClient: ClientPart<
  OpenspaClientKeys,
  { readonly uuid: Uint8Array; readonly key: string }
> = {
  schema: object({ uuid: required(uuid), key: required(words) }, SECRET),
  read({ uuid, key: file }, path, mistakes, readKey) {
    const read = readKey?.(file, {
      parse: parseRsaPublicKey,
      wanted: `a public ${RSA_WORDS}`,
      secret: false,
    });
    if (read?.ok && read.key) return { uuid, key: read.key };
    const missing = {
      text: `"${file}" is missing`,
      hint: "it is the client's public key, in PEM",
    };
    const mistake = !read || read.ok ? missing : read.mistake;
    mistakes.push({ path: `${path}.key`, ...mistake });
    return null;
  },
  marks: [{ key: "uuid", wanted: "a UUID", of: ({ uuid }) => uuid }],
  index: ({ uuid }) => uuid,
  form: () => ({ least: 528, most: 1444, first: [0x20] }),
  show: ({ uuid }) => [["openspa uuid", formatUuid(uuid)]],
  file: { key: "key", of: (client) => `openspa/${client}.pem` },
};

/** `openspa` at the top. */
export const openspaOwn: OwnPart<
  RsaKey,
  { readonly key: string; readonly adk_secret: Uint8Array | null }
> = {
  schema: object({
    key: optional(words, "openspa.pem"),
    adk_secret: optional(adkSecret, null),
  }, SECRET),
  kind: {
    parse: parseRsaPrivateKey,
    wanted: `a private ${RSA_WORDS}`,
    secret: true,
  },
  settings: ({ adk_secret }) => ({ adkSecret: adk_secret }),
  make: (world) => world.rsaPrivateKey(RSA_BITS),
};

/** `openspa:` of a profile. */
export const openspaProfile = object({
  uuid: required(uuid),
  key: required(text(`a private ${RSA_WORDS}`, parseRsaPrivateKey, SECRET)),
  server: required(text(`a public ${RSA_WORDS}`, parseRsaPublicKey, SECRET)),
  adk_secret: optional(adkSecret, null),
}, SECRET);
