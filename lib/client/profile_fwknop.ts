/** The keys of fwknop in a profile, under the names that server.yaml has for them. */

import {
  FWKNOP_FIELDS,
  type FwknopGpg,
  readFwknopKeys,
} from "../config/fwknop_keys.ts";
import type { Mistake } from "../config/mistake.ts";
import {
  object,
  oneOf,
  optional,
  required,
  type Schema,
  text,
} from "../config/schema.ts";
import type { FwknopKeys } from "../dialects/fwknop.ts";
import { DIGEST_TYPES, type DigestType } from "../dialects/fwknop_digest.ts";

/** The keys of fwknop, and what else its packets say. */
export type FwknopProfileKeys =
  & {
    /** The user's name, which a server may want. */
    readonly user: string;
    /** The checksum; servers find it out by themselves. */
    readonly digest: DigestType;
  }
  & (FwknopKeys | {
    readonly gpg: FwknopProfileGpg;
    readonly hmac: FwknopKeys["hmac"];
  });

/** Keys in a keyring of gpg's. */
export interface FwknopProfileGpg {
  /** The folder of the keyring. */
  readonly home: string;
  /** The server's key. */
  readonly recipient: string;
  /** The client's own key. */
  readonly signer: string;
}

const words = text("text", (value) => value === "" ? null : value);

const schema = object({
  ...FWKNOP_FIELDS,
  user: optional(words, "knock"),
  digest: optional(oneOf(DIGEST_TYPES), "sha256"),
  gpg: optional(
    object({
      home: required(words),
      recipient: required(words),
      signer: required(words),
    }),
    null,
  ),
}, { secret: true });

/** `fwknop:` of a profile. */
export const fwknopProfile: Schema<FwknopProfileKeys> = {
  json: schema.json,
  read(value: unknown, path: string, mistakes: Mistake[]) {
    const yaml = schema.read(value, path, mistakes);
    if (!yaml) return undefined;
    const { user, digest, gpg } = yaml;
    const shared: FwknopGpg | null = gpg && { ...gpg, signers: [] };
    const keys = readFwknopKeys(yaml, shared, path, mistakes);
    if (!keys) return undefined;
    return "key" in keys
      ? { ...keys, user, digest }
      : { gpg: gpg!, hmac: keys.hmac, user, digest };
  },
};
