/**
 * The keys of fwknop under `fwknop:`, in server.yaml and in profiles.yaml, by
 * the names that fwknop's own files have for them.
 * @module
 */

import type { FwknopGpgKeys, FwknopKeys } from "./open.ts";
import { CIPHER_MODES, MAX_KEY_SIZE } from "./cipher.ts";
import { DIGEST_TYPES, MAX_HMAC_KEY_SIZE } from "../crypto/hash.ts";
import type { Client } from "../../config/config.ts";
import { at, type Mistake } from "../../values/mistake.ts";
import {
  object,
  oneOf,
  optional,
  type Schema,
  text,
} from "../../values/schema.ts";
import { sameBytes } from "../../values/bytes.ts";

/** The keys of `fwknop:` that both ends have. */
export const FWKNOP_FIELDS = {
  key: optional(secretText(MAX_KEY_SIZE), null),
  key_base64: optional(secretBase64(MAX_KEY_SIZE), null),
  hmac_key: optional(secretText(MAX_HMAC_KEY_SIZE), null),
  hmac_key_base64: optional(secretBase64(MAX_HMAC_KEY_SIZE), null),
  hmac: optional(oneOf([...DIGEST_TYPES, "none"]), null),
  mode: optional(oneOf(CIPHER_MODES), null),
};

const schema = object(FWKNOP_FIELDS, { secret: true });

/** What was read of {@linkcode FWKNOP_FIELDS}. */
export type FwknopYaml = NonNullable<ReturnType<typeof schema["read"]>>;

/** The part of the keys that is the same with OpenPGP. */
export type FwknopGpg = FwknopGpgKeys["gpg"];

/**
 * Holds the keys against each other; null, with every mistake noted, if they
 * cannot be used. With `gpg` the passphrase is not wanted.
 */
export function readFwknopKeys(
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
        "and lets whoever records a packet try to change it",
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

/** What is allowed of a client's keys, and not wise; null: nothing. */
export function warnOfFwknop({ name, fwknop }: Client): string | null {
  if (!fwknop || fwknop.hmac) return null;
  const danger = "gpg" in fwknop
    ? "every packet of its form costs a run of gpg"
    : "whoever records one of its packets may be able to change it";
  return `${at("clients", name)}.fwknop: has no HMAC: ${danger}; give it an ` +
    `hmac_key_base64 on both sides`;
}

/** Text as it is; a bare number might have lost a zero. */
function secretText(most: number): Schema<Uint8Array> {
  return quoted(
    text(
      `text of 1 to ${most} bytes, in quotes`,
      (words) => sized(new TextEncoder().encode(words), most),
      { secret: true, json: { type: "string" } },
    ),
  );
}

function secretBase64(most: number): Schema<Uint8Array> {
  return quoted(
    text(
      `base64 of 1 to ${most} bytes`,
      (words) => sized(fromBase64(words), most),
      { secret: true, json: { type: "string" } },
    ),
  );
}

function quoted<T>(schema: Schema<T>): Schema<T> {
  return {
    ...schema,
    read: (value, path, mistakes) =>
      schema.read(typeof value === "number" ? null : value, path, mistakes),
  };
}

function sized(bytes: Uint8Array | null, most: number): Uint8Array | null {
  return bytes && bytes.length >= 1 && bytes.length <= most ? bytes : null;
}

function fromBase64(words: string): Uint8Array | null {
  // White space within would be passed over.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(words)) return null;
  try {
    return Uint8Array.fromBase64(words, { lastChunkHandling: "loose" });
  } catch {
    return null;
  }
}
