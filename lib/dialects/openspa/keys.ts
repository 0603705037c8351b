import { parseUuid } from "../../values/bytes.ts";
import {
  type KeyKind,
  object,
  oneOrMore,
  optional,
  required,
  text,
} from "../../values/schema.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  type RsaKey,
} from "../crypto/rsa.ts";
import { FINGERPRINT } from "../fwknop/gpg.ts";
import { FWKNOP_FIELDS } from "../fwknop/keys.ts";
import { parseOpenmeKey } from "../openme/keys.ts";
import { parseAdkSecret } from "./adk.ts";

const file = text("text", (value) => value === "" ? null : value, {
  json: { minLength: 1 },
});

// A client's private key, put there by mistake, is not shown.
const openmeKey = text(
  "an openme client's public key, 32 bytes in base64",
  parseOpenmeKey,
  { secret: true, json: { pattern: "^[A-Za-z0-9+/]{43}=$" } },
);

const uuid = text("a UUID", parseUuid, { json: { format: "uuid" } });

const adkSecret = text("7 characters of base32", parseAdkSecret, {
  secret: true,
  json: { pattern: "^[A-Z2-7]{7}$" },
});

const fingerprint = text(
  "the fingerprint of an OpenPGP primary key, 40 hexadecimal digits",
  (value) => {
    const digits = value.replaceAll(" ", "").toUpperCase();
    return FINGERPRINT.test(digits) ? digits : null;
  },
);

/** `clients.NAME.fwknop`. */
export const fwknopClient = object({
  ...FWKNOP_FIELDS,
  require_username: optional(file, null),
  gpg: optional(
    object({
      home: required(file),
      recipient: required(file),
      signers: required(oneOrMore(fingerprint)),
    }),
    null,
  ),
}, { secret: true });

/** `clients.NAME.openme`. */
export const openmeClient = object({ key: required(openmeKey) }, {
  secret: true,
});

/** `clients.NAME.openspa`. */
export const openspaClient = object({
  uuid: required(uuid),
  key: required(file),
}, { secret: true });

/** `openme` at the top. */
export const openmeServer = object({ key: optional(file, "openme.key") });

/** `openspa` at the top. */
export const openspaServer = object({
  key: optional(file, "openspa.pem"),
  adk_secret: optional(adkSecret, null),
}, { secret: true });

/** The file of the server's own key in openme's dialect. */
export const OPENME_KEY: KeyKind<Uint8Array> = {
  parse: parseOpenmeKey,
  wanted: "a private key of 32 bytes in base64",
  secret: true,
};

/** The file of the server's own key in OpenSPA's dialect. */
export const OPENSPA_KEY: KeyKind<RsaKey> = {
  parse: parseRsaPrivateKey,
  wanted: "a private key in PEM, of RSA with 2048 to 4096 bits",
  secret: true,
};

/** The file of a client's public key in OpenSPA's dialect. */
export const OPENSPA_CLIENT_KEY: KeyKind<RsaKey> = {
  parse: parseRsaPublicKey,
  wanted: "a public key in PEM, of RSA with 2048 to 4096 bits",
  secret: false,
};
