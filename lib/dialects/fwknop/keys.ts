/** The keys of fwknop in server.yaml and profiles.yaml. */

import { parseEndpoint } from "../../values/address.ts";
import { concat, parseBase64, sameBytes } from "../../values/bytes.ts";
import {
  at,
  type Mistake,
  object,
  oneOf,
  oneOrMore,
  optional,
  required,
  type Schema,
  text,
  words,
} from "../../values/schema.ts";
import {
  DIGEST_TYPES,
  type DigestType,
  keyBlock,
  MAX_HMAC_KEY_SIZE,
} from "../crypto/hash.ts";
import type { ClientPart, Forward } from "../dialect.ts";

/** The modes that both ends may be set to, the default first; `legacy` is CBC with a key padded by "0". */
export const CIPHER_MODES = //
  ["cbc", "ctr", "cfb", "ofb", "ecb", "legacy"] as const;

export type CipherMode = (typeof CIPHER_MODES)[number];

/** The longest passphrase, in bytes. */
export const MAX_KEY_SIZE = 32;

/** A fingerprint of OpenPGP, version 4 or 5. */
export const FINGERPRINT = /^([0-9A-F]{40}|[0-9A-F]{64})$/;

/** The keys of `fwknop:` that both ends have. */
const FWKNOP_FIELDS = {
  key: optional(secretText(MAX_KEY_SIZE), null),
  key_base64: optional(secretBase64(MAX_KEY_SIZE), null),
  hmac_key: optional(secretText(MAX_HMAC_KEY_SIZE), null),
  hmac_key_base64: optional(secretBase64(MAX_HMAC_KEY_SIZE), null),
  hmac: optional(oneOf([...DIGEST_TYPES, "none"]), null),
  mode: optional(oneOf(CIPHER_MODES), null),
};

const schema = object(FWKNOP_FIELDS, { secret: true });

/** Values read by {@linkcode FWKNOP_FIELDS}. */
type FwknopYaml = NonNullable<ReturnType<typeof schema["read"]>>;

/** The part of the keys that is the same with OpenPGP. */
type FwknopGpg = FwknopGpgKeys["gpg"];

/**
 * Holds the keys against each other; null, with every mistake noted, if they
 * cannot be used. With `gpg` the passphrase is not wanted.
 */
function readFwknopKeys(
  yaml: FwknopYaml,
  gpg: FwknopGpg | null,
  path: string,
  mistakes: Mistake[],
): FwknopKeys | FwknopGpgKeys | null {
  const before = mistakes.length;
  const wrong = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: at(path, key), text, hint });
  for (const key of ["key", "hmac_key"] as const) {
    if (yaml[key] && yaml[`${key}_base64`]) {
      wrong(key, `must not be beside ${key}_base64`);
    }
  }
  const key = yaml.key_base64 ?? yaml.key;
  const macKey = yaml.hmac_key_base64 ?? yaml.hmac_key;
  if (gpg) {
    if (key) wrong("key", "must not be beside gpg");
    if (yaml.mode) wrong("mode", "is of passphrases, and must not be with gpg");
  } else if (!key) {
    wrong("key_base64", "is missing", "it is KEY_BASE64 of fwknop --key-gen");
  }
  if (yaml.hmac === "none") {
    if (macKey) wrong("hmac", `must not be "none" beside an HMAC key`);
  } else if (!macKey) {
    wrong(
      "hmac_key_base64",
      "is missing",
      "it is HMAC_KEY_BASE64 of fwknop --key-gen; `hmac: none` goes without, " +
        "and then a recorded packet can be changed",
    );
  }
  if (key && macKey && sameBytes(key, macKey)) {
    wrong("hmac_key_base64", "must be another key than the passphrase");
  }
  if (mistakes.length > before) return null;
  const type = yaml.hmac ?? "sha256";
  const hmac = macKey && type !== "none" ? { type, key: macKey } : null;
  return gpg ? { gpg, hmac } : { key: key!, mode: yaml.mode ?? "cbc", hmac };
}

const fingerprint = text(
  "the fingerprint of an OpenPGP primary key, 40 hexadecimal digits",
  (value) => {
    const digits = value.replaceAll(" ", "").toUpperCase();
    return FINGERPRINT.test(digits) ? digits : null;
  },
);

/** A client: a shared passphrase, or keyrings of OpenPGP. */
export type FwknopClientKeys = (FwknopKeys | FwknopGpgKeys) & FwknopSender;

/** `clients.NAME.fwknop`. */
export const fwknopClient: ClientPart<
  FwknopClientKeys,
  FwknopYaml & {
    readonly require_username: string | null;
    readonly gpg: FwknopGpg | null;
  }
> = {
  schema: object({
    ...FWKNOP_FIELDS,
    require_username: optional(words, null),
    gpg: optional(
      object({
        home: required(words),
        recipient: required(words),
        signers: required(oneOrMore(fingerprint)),
      }),
      null,
    ),
  }, { secret: true }),
  read(yaml, path, mistakes) {
    const keys = readFwknopKeys(yaml, yaml.gpg, path, mistakes);
    const { require_username } = yaml;
    if (!keys || require_username === null) return keys;
    return { ...keys, requireUsername: require_username };
  },
  marks: [
    {
      key: "hmac_key_base64",
      wanted: "an HMAC key",
      of: ({ hmac }) => hmac?.key,
    },
    {
      key: "key_base64",
      wanted: "a key",
      // With an HMAC, its key alone identifies the client.
      of: (keys) => !keys.hmac && "key" in keys ? keys.key : undefined,
    },
  ],
  index({ gpg, hmac, hmac_key, hmac_key_base64 }) {
    const key = hmac_key_base64 ?? hmac_key;
    if (gpg || !key || hmac === "none") return null;
    const type = hmac ?? "sha256";
    return concat(indexStart(type), keyBlock(type, key));
  },
  form: (keys) =>
    keys && "gpg" in keys
      ? { least: 400, most: 1500, first: null }
      : { least: 140, most: 1500, first: [0x38, 0x39, 0x2b, 0x2f] },
  warn(keys) {
    if (keys.hmac) return null;
    const danger = "gpg" in keys
      ? "every packet of its form costs a run of gpg"
      : "a recorded packet can be changed";
    return `has no HMAC: ${danger}; give it an hmac_key_base64 on both sides`;
  },
  show: () => [],
};

/** First byte of the index of every client with an HMAC of this type. */
export function indexStart(type: DigestType): Uint8Array {
  return Uint8Array.of(DIGEST_TYPES.indexOf(type));
}

/** Text as it is; a bare number might have lost a zero. */
function secretText(most: number): Schema<Uint8Array> {
  const wanted = `text of 1 to ${most} bytes, in quotes`;
  return quoted(wanted, most, (words) => new TextEncoder().encode(words));
}

function secretBase64(most: number): Schema<Uint8Array> {
  const wanted = `base64 of 1 to ${most} bytes`;
  return quoted(wanted, most, (text) => parseBase64(text, { padding: "any" }));
}

function quoted(
  wanted: string,
  most: number,
  parse: (words: string) => Uint8Array | null,
): Schema<Uint8Array> {
  const sized = (words: string) => {
    const bytes = parse(words);
    return bytes && bytes.length >= 1 && bytes.length <= most ? bytes : null;
  };
  const json = { type: "string" };
  const schema = text(wanted, sized, { secret: true, json });
  return {
    ...schema,
    read: (value, path, mistakes) =>
      schema.read(typeof value === "number" ? null : value, path, mistakes),
  };
}

// The keys of fwknop in a profile, under the names that server.yaml has for them.

/** The keys of fwknop, and settings of its packets. */
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

export interface FwknopProfileGpg {
  /** The folder of the keyring. */
  readonly home: string;
  /** The server's key. */
  readonly recipient: string;
  /** The client's own key. */
  readonly signer: string;
}

const target = text("HOST:PORT", (value) => {
  const endpoint = parseEndpoint(value);
  return endpoint && endpoint.port > 0 ? endpoint : null;
});

const profileSchema = object({
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
  json: profileSchema.json,
  read(value: unknown, path: string, mistakes: Mistake[]) {
    const yaml = profileSchema.read(value, path, mistakes);
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

/** Secrets that client and server share. */
export interface FwknopKeys {
  /** The passphrase, raw: 1 to 32 bytes, of text or of decoded base64. */
  readonly key: Uint8Array;
  readonly mode: CipherMode;
  /** Null: whatever decrypts is taken for the client's. */
  readonly hmac: {
    readonly type: DigestType;
    /** Raw, 1 to 128 bytes. No two clients share one. */
    readonly key: Uint8Array;
  } | null;
}

/** Settings that an OpenPGP client and its server share; the keys are in their keyrings. */
export interface FwknopGpgKeys {
  readonly gpg: {
    /** The folder of the keyring. */
    readonly home: string;
    /** Recipient of packets: the server, as gpg knows it. */
    readonly recipient: string;
    /** Fingerprints of the primary keys that may sign, 40 or 64 capital hexadecimal digits. */
    readonly signers: readonly string[];
  };
  readonly hmac: FwknopKeys["hmac"];
}

/** Requirements for the sender of a packet besides its proof. */
export interface FwknopSender {
  /** The user that packets must name; null or absent: any. */
  readonly requireUsername?: string | null;
}
