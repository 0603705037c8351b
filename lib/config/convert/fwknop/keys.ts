/** The keys of a stanza, in access.conf and in .fwknoprc. */

import {
  DIGEST_TYPES,
  type DigestType,
  MAX_HMAC_KEY_SIZE,
} from "../../../dialects/crypto/hash.ts";
import {
  CIPHER_MODES,
  type CipherMode,
  FINGERPRINT,
  MAX_KEY_SIZE,
} from "../../../dialects/fwknop/keys.ts";
import { formatJson } from "../../../values/text.ts";
import { parseBase64 } from "../../../values/bytes.ts";
import { type Directive, isYes, lastOf, type Settings } from "./lines.ts";

/** Keys that both ends share, as our configuration spells them. */
export interface ConvertedKeys {
  /** Null with OpenPGP. */
  readonly keyBase64: string | null;
  /** The keyring as YAML; null with a passphrase. */
  readonly gpg: string | null;
  readonly hmacKeyBase64: string | null;
  readonly hmac: DigestType | "none";
  readonly mode: CipherMode;
}

/** The keywords that {@linkcode convertKeys} takes. */
export const KEY_KEYWORDS: readonly string[] = [
  "KEY",
  "KEY_BASE64",
  "HMAC_KEY",
  "HMAC_KEY_BASE64",
  "HMAC_DIGEST_TYPE",
  "ENCRYPTION_MODE",
];

/** Placeholder in files that were never filled in. */
const PLACEHOLDER = "__CHANGEME__";

/**
 * Converts the keys of a stanza; null, and a warning, if it cannot be used.
 * With `gpg` there is no passphrase. The key that was set last counts, as with
 * fwknopd; `client`: the one that is text, as with fwknop's client.
 */
export function convertKeys(
  settings: Settings,
  where: string,
  warnings: string[],
  gpg: string | null = null,
  client = false,
): ConvertedKeys | null {
  const keyOf = (name: string) =>
    client && settings.has(name)
      ? settings.get(name)
      : lastOf(settings, name, `${name}_BASE64`);
  const say = (at: Directive | undefined, words: string) => {
    const place = at ? `${at.where}: ${at.keyword}` : where;
    warnings.push(`${place}: ${words}`);
    return null;
  };
  const mode = settings.get("ENCRYPTION_MODE");
  const cipher = CIPHER_MODES.find((name) =>
    name === (gpg ? "cbc" : mode?.value.toLowerCase() ?? "cbc")
  );
  if (!cipher) {
    return say(mode, `"${mode!.value}" is not supported, left out`);
  }
  const key = gpg ? null : keyOf("KEY");
  if (key === undefined) return say(key, "has no passphrase, left out");
  if (isPlaceholder(key)) return say(key!, "is not filled in, left out");
  const keyBase64 = key && toBase64(key, MAX_KEY_SIZE);
  if (key && !keyBase64) {
    return say(key, `not a key of 1 to ${MAX_KEY_SIZE} bytes, left out`);
  }
  const macKey = keyOf("HMAC_KEY");
  const type = settings.get("HMAC_DIGEST_TYPE");
  if (!macKey && client && /^y$/i.test(settings.get("USE_HMAC")?.value ?? "")) {
    return say(
      settings.get("USE_HMAC"),
      "fwknop asks for the HMAC key; left out: put HMAC_KEY_BASE64 in",
    );
  }
  if (!macKey) {
    say(
      undefined,
      "has no HMAC key: a recorded packet can be changed; " +
        "give it one on both sides",
    );
    const rest = { hmacKeyBase64: null, hmac: "none" } as const;
    return { keyBase64, gpg, ...rest, mode: cipher };
  }
  if (isPlaceholder(macKey)) {
    return say(macKey, "is not filled in, left out");
  }
  const hmacKeyBase64 = toBase64(macKey, MAX_HMAC_KEY_SIZE);
  if (!hmacKeyBase64) {
    return say(
      macKey,
      `not a key of 1 to ${MAX_HMAC_KEY_SIZE} bytes, left out`,
    );
  }
  if (hmacKeyBase64 === keyBase64) {
    return say(
      macKey,
      "is the passphrase, too, which fwknop refuses, left out",
    );
  }
  const name = type?.value.toLowerCase().replace("_", "-") ?? "sha256";
  const hmac = DIGEST_TYPES.find((other) => other === name);
  if (!hmac) return say(type, `"${type!.value}" is not known, left out`);
  return { keyBase64, gpg, hmacKeyBase64, hmac, mode: cipher };
}

/** Writes keys as one line of YAML, with more entries after them. */
export function formatKeys(keys: ConvertedKeys, more = ""): string {
  const mac = keys.hmacKeyBase64 === null
    ? ""
    : `hmac_key_base64: "${keys.hmacKeyBase64}", `;
  return keys.gpg
    ? `fwknop: { ${mac}hmac: ${keys.hmac}, gpg: ${keys.gpg}${more} }`
    : `fwknop: { key_base64: "${keys.keyBase64}", ${mac}` +
      `hmac: ${keys.hmac}, mode: ${keys.mode}${more} }`;
}

function isPlaceholder(key: Directive | null | undefined): boolean {
  return key?.value.toUpperCase() === PLACEHOLDER;
}

function toBase64(
  { keyword, value }: Directive,
  longest: number,
): string | null {
  const bytes = keyword.endsWith("_BASE64")
    ? parseBase64(value, { padding: "any" })
    : new TextEncoder().encode(value);
  const fits = bytes && bytes.length >= 1 && bytes.length <= longest;
  return fits ? bytes.toBase64() : null;
}

/** The keywords that {@linkcode convertServerGpg} and {@linkcode convertClientGpg} take. */
export const GPG_KEYWORDS: readonly string[] = [
  "GPG_DECRYPT_ID",
  "GPG_FINGERPRINT_ID",
  "GPG_REMOTE_ID",
  "GPG_HOME_DIR",
  "GPG_ALLOW_NO_PW",
  "GPG_REQUIRE_SIG",
  "GPG_DISABLE_SIG",
  "GPG_IGNORE_SIG_VERIFY_ERROR",
  "GPG_DECRYPT_PW",
  "GPG_EXE",
  "USE_GPG",
  "USE_GPG_AGENT",
  "GPG_RECIPIENT",
  "GPG_SIGNER",
  "GPG_HOMEDIR",
  "GPG_NO_SIGNING_PW",
];

/** Where root's keyring is, which fwknopd takes by default. */
const SERVER_HOME = "/root/.gnupg";

/** Default keyring of fwknop's client; gpg itself expands the tilde. */
const CLIENT_HOME = "~/.gnupg";

/** Keywords whose meaning changes, and the words about each. */
const NOTES: readonly [keyword: string, yes: boolean | null, words: string][] =
  [
    ["GPG_REQUIRE_SIG", false, "a good signature is always wanted here"],
    ["GPG_DISABLE_SIG", true, "a good signature is always wanted here"],
    [
      "GPG_IGNORE_SIG_VERIFY_ERROR",
      true,
      "a good signature is always wanted here",
    ],
    [
      "GPG_DECRYPT_PW",
      null,
      "not converted: the server's key must have no passphrase",
    ],
    ["GPG_EXE", null, "not converted: gpg is found by PATH"],
  ];

/**
 * The keyring of a stanza of access.conf as our YAML; null if it has none, or
 * none that can be used, which a warning explains. `defaultHome`: GPG_HOME_DIR
 * of fwknopd.conf.
 */
export function convertServerGpg(
  settings: Settings,
  defaultHome: string | null,
  warnings: string[],
): string | null {
  const tell = ({ where, keyword }: Directive, words: string) =>
    warnings.push(`${where}: ${keyword}: ${words}`);
  for (const [keyword, yes, words] of NOTES) {
    const directive = settings.get(keyword);
    if (directive && (yes === null || isYes(directive) === yes)) {
      tell(directive, words);
    }
  }
  const recipient = settings.get("GPG_DECRYPT_ID");
  if (!recipient) return null;
  const { where } = recipient;
  const say = (words: string) => {
    warnings.push(`${where}: GPG_DECRYPT_ID: ${words}`);
    return null;
  };
  if (settings.has("KEY") || settings.has("KEY_BASE64")) {
    return say("not converted: the stanza has a passphrase, too");
  }
  const signers = (settings.get("GPG_FINGERPRINT_ID")?.value ?? "")
    .split(",").map((id) => id.replaceAll(" ", "").toUpperCase());
  if (!signers.every((id) => FINGERPRINT.test(id))) {
    return say(
      "not converted: name the keys that may sign by their whole fingerprints " +
        "in GPG_FINGERPRINT_ID",
    );
  }
  const ids = settings.get("GPG_REMOTE_ID");
  if (ids) {
    tell(ids, "not converted: GPG_FINGERPRINT_ID alone tells who may sign");
  }
  const home = settings.get("GPG_HOME_DIR")?.value ?? defaultHome ??
    SERVER_HOME;
  return `{ home: ${formatJson(home)}, recipient: ` +
    `${formatJson(recipient.value)}, signers: [${
      signers.map((id) => formatJson(id)).join(", ")
    }] }`;
}

/** As {@linkcode convertServerGpg}, of a stanza of .fwknoprc. */
export function convertClientGpg(
  settings: Settings,
  warnings: string[],
): string | null {
  const use = settings.get("USE_GPG");
  if (!/^y$/i.test(use?.value ?? "")) return null;
  const missing = ["GPG_RECIPIENT", "GPG_SIGNER"]
    .filter((keyword) => !settings.has(keyword));
  if (missing.length > 0) {
    warnings.push(
      `${use!.where}: USE_GPG: not converted without ${missing.join(" and ")}`,
    );
    return null;
  }
  const [home, recipient, signer] = [
    settings.get("GPG_HOMEDIR")?.value ?? CLIENT_HOME,
    settings.get("GPG_RECIPIENT")!.value,
    settings.get("GPG_SIGNER")!.value,
  ].map((word) => formatJson(word));
  return `{ home: ${home}, recipient: ${recipient}, signer: ${signer} }`;
}
