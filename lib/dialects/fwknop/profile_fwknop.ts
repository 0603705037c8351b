/** The keys of fwknop in a profile, under the names that server.yaml has for them. */

import { FWKNOP_FIELDS, type FwknopGpg, readFwknopKeys } from "./keys.ts";
import { at, type Mistake } from "../../values/mistake.ts";
import {
  object,
  oneOf,
  optional,
  required,
  type Schema,
  text,
} from "../../values/schema.ts";
import type { Forward } from "../dialect.ts";
import type { FwknopKeys } from "./open.ts";
import { DIGEST_TYPES, type DigestType } from "../crypto/hash.ts";
import { parseEndpoint } from "../../values/address.ts";

/** The keys of fwknop, and what else its packets say. */
export type FwknopProfileKeys =
  & {
    /** The user's name, which a server may want. */
    readonly user: string;
    /** The checksum; servers find it out by themselves. */
    readonly digest: DigestType;
    /** Where the server is to lead the port that is asked for; null: nowhere else. */
    readonly forward: Forward | null;
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

const target = text("HOST:PORT", (value) => {
  const endpoint = parseEndpoint(value);
  return endpoint && endpoint.port > 0 ? endpoint : null;
});

const schema = object({
  ...FWKNOP_FIELDS,
  nat_access: optional(target, null),
  nat_local: optional(target, null),
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
    const { nat_access, nat_local } = yaml;
    if (nat_access && nat_local) {
      const text = "must not be beside nat_access";
      mistakes.push({ path: at(path, "nat_local"), text });
    }
    const to = nat_access ?? nat_local;
    const forward: Forward | null = to &&
      { kind: nat_access ? "nat" : "local", ...to };
    if (!keys) return undefined;
    return "key" in keys
      ? { ...keys, user, digest, forward }
      : { gpg: gpg!, hmac: keys.hmac, user, digest, forward };
  },
};
