/** The keys of a profile, by dialect; `profiles.yaml` holds them as text. */

import { parseBase64, parseUuid } from "../../values/bytes.ts";
import { object, optional, required, text } from "../../values/schema.ts";
import { KEY_SIZE } from "../crypto/curve25519.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  type RsaKey,
} from "../crypto/rsa.ts";
import type { DialectName } from "../dialect.ts";
import { fwknopProfile, type FwknopProfileKeys } from "../fwknop/keys.ts";
import { parseOpenmeKey, parseOpenmeSeed } from "../openme/keys.ts";
import { parseAdkSecret } from "../openspa/adk.ts";

/** The keys of knock/1, 32 bytes each. */
export interface KnockKeys {
  /** The server's public key. */
  readonly server: Uint8Array;
  /** The client's own private key. */
  readonly key: Uint8Array;
  readonly psk: Uint8Array;
}

/** The keys of openme, 32 bytes each. */
export interface OpenmeProfileKeys {
  /** The server's X25519 public key. */
  readonly server: Uint8Array;
  /** The seed of the client's own Ed25519 key. */
  readonly key: Uint8Array;
}

/** The keys of OpenSPA. */
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

/** A profile's keys: those of one dialect, null for the others. */
export interface ProfileKeys {
  readonly knock: KnockKeys | null;
  readonly fwknop: FwknopProfileKeys | null;
  readonly openme: OpenmeProfileKeys | null;
  readonly openspa: OpenspaProfileKeys | null;
}

/** The dialect that a profile knocks in. */
export function dialectOf(keys: ProfileKeys): DialectName {
  return PROFILE_DIALECTS.find((dialect) => keys[dialect] !== null)!;
}

/** The dialects that a profile may knock in. */
export const PROFILE_DIALECTS = [
  "knock",
  "fwknop",
  "openme",
  "openspa",
] as const;

const SECRET = { secret: true } as const;

const key = text(
  "a key of 43 characters (base64url)",
  (words) => parseBase64(words, { alphabet: "base64url", size: KEY_SIZE }),
  SECRET,
);
const openmeKey = text("a key of 32 bytes in base64", parseOpenmeKey, SECRET);
const openmeSeed = text(
  "a private key of 32 or 64 bytes in base64",
  parseOpenmeSeed,
  SECRET,
);
const rsaPrivate = text(
  "a private key in PEM, of RSA with 2048 to 4096 bits",
  parseRsaPrivateKey,
  SECRET,
);
const rsaPublic = text(
  "a public key in PEM, of RSA with 2048 to 4096 bits",
  parseRsaPublicKey,
  SECRET,
);
const adkSecret = text("7 characters of base32", parseAdkSecret, SECRET);

/** The keys' fields of a profile. */
export const PROFILE_KEYS = {
  knock: optional(
    object({
      server: required(key),
      key: required(key),
      psk: required(key),
    }, SECRET),
    null,
  ),
  fwknop: optional(fwknopProfile, null),
  openme: optional(
    object({
      server: required(openmeKey),
      key: required(openmeSeed),
    }, SECRET),
    null,
  ),
  openspa: optional(
    object({
      uuid: required(text("a UUID", parseUuid)),
      key: required(rsaPrivate),
      server: required(rsaPublic),
      adk_secret: optional(adkSecret, null),
    }, SECRET),
    null,
  ),
} as const;
