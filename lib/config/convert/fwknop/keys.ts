/** The keys of a stanza, in access.conf and in .fwknoprc. */

import {
  DIGEST_TYPES,
  type DigestType,
  MAX_HMAC_KEY_SIZE,
} from "../../../dialects/crypto/hash.ts";
import {
  CIPHER_MODES,
  FINGERPRINT,
  MAX_KEY_SIZE,
} from "../../../dialects/fwknop/keys.ts";
import { formatJson } from "../../../values/text.ts";
import { parseBase64 } from "../../../values/bytes.ts";
import {
  type Directive,
  isOn,
  isYes,
  keywords,
  type Settings,
} from "./lines.ts";

/** Keys that both ends share. */
interface ConvertedKeys {
  /** The key that tells who knocks; null with OpenPGP alone. */
  readonly mark: string | null;
  /** As our configuration spells them: entries of a mapping in one line of YAML. */
  readonly entries: readonly string[];
}

/** The keywords of all keys, in both files. */
export const KEY_KEYWORDS = keywords(`
  KEY KEY_BASE64 HMAC_KEY HMAC_KEY_BASE64 HMAC_DIGEST_TYPE ENCRYPTION_MODE
  GPG_DECRYPT_ID GPG_FINGERPRINT_ID GPG_REMOTE_ID GPG_HOME_DIR GPG_ALLOW_NO_PW
  GPG_REQUIRE_SIG GPG_DISABLE_SIG GPG_IGNORE_SIG_VERIFY_ERROR GPG_DECRYPT_PW
  GPG_EXE USE_GPG USE_GPG_AGENT GPG_RECIPIENT GPG_SIGNER GPG_HOMEDIR
  GPG_NO_SIGNING_PW`);

/**
 * Converts the keys of a stanza; null, and a warning, if it cannot be used.
 * With `gpg` there is no passphrase. The key that was set last counts, as with
 * fwknopd; `isClient`: the one that is text, as with fwknop's client.
 */
export function convertKeys(
  settings: Settings,
  gpg: string | null,
  isClient = false,
): ConvertedKeys | null {
  const keyOf = (name: string) =>
    isClient && settings.get(name) ||
    settings.last(name, `${name}_BASE64`);
  const named = settings.get("ENCRYPTION_MODE");
  const mode = CIPHER_MODES.find((name) =>
    name === (gpg ? "cbc" : named?.value.toLowerCase() ?? "cbc")
  );
  if (!mode) {
    return settings.warn(named, `"${named!.value}" is not supported, left out`);
  }
  const key = gpg ? null : keyOf("KEY");
  if (key === undefined) {
    return settings.warn(undefined, "has no passphrase, left out");
  }
  const keyBase64 = key && convertKey(settings, key, MAX_KEY_SIZE);
  if (key && !keyBase64) return null;
  const written = (mac: string | null, hmac: DigestType | "none") => ({
    mark: mac ? `hmac ${mac}` : gpg ? null : `key ${keyBase64}`,
    entries: [
      ...gpg ? [] : [`key_base64: "${keyBase64}"`],
      ...mac ? [`hmac_key_base64: "${mac}"`] : [],
      `hmac: ${hmac}`,
      gpg ? `gpg: ${gpg}` : `mode: ${mode}`,
    ],
  });
  const macKey = keyOf("HMAC_KEY");
  if (!macKey) {
    const use = settings.get("USE_HMAC");
    if (isClient && isOn(use)) {
      return settings.warn(
        use,
        "fwknop asks for the HMAC key; left out: put HMAC_KEY_BASE64 in",
      );
    }
    settings.warn(
      undefined,
      "has no HMAC key: a recorded packet can be changed; " +
        "give it one on both sides",
    );
    return written(null, "none");
  }
  const hmacKeyBase64 = convertKey(settings, macKey, MAX_HMAC_KEY_SIZE);
  if (!hmacKeyBase64) return null;
  if (hmacKeyBase64 === keyBase64) {
    const words = "is the passphrase, too, which fwknop refuses, left out";
    return settings.warn(macKey, words);
  }
  const type = settings.get("HMAC_DIGEST_TYPE");
  const hmac = digestOf(type);
  return hmac
    ? written(hmacKeyBase64, hmac)
    : settings.warn(type, `"${type!.value}" is not known, left out`);
}

/** The digest that a setting names, sha256 without one; undefined where it is not known. */
export function digestOf(type: Directive | undefined): DigestType | undefined {
  const name = type?.value.toLowerCase().replace("_", "-") ?? "sha256";
  return DIGEST_TYPES.find((known) => known === name);
}

function convertKey(
  settings: Settings,
  key: Directive,
  longest: number,
): string | null {
  const { keyword, value } = key;
  // So it stands in files that were never filled in.
  if (value.toUpperCase() === "__CHANGEME__") {
    return settings.warn(key, "is not filled in, left out");
  }
  const bytes = keyword.endsWith("_BASE64")
    ? parseBase64(value, { padding: "any" })
    : new TextEncoder().encode(value);
  return bytes && bytes.length >= 1 && bytes.length <= longest
    ? bytes.toBase64()
    : settings.warn(key, `not a key of 1 to ${longest} bytes, left out`);
}

/** Keywords that would let packets without a good signature in, and their value then. */
const UNSIGNED = {
  GPG_REQUIRE_SIG: false,
  GPG_DISABLE_SIG: true,
  GPG_IGNORE_SIG_VERIFY_ERROR: true,
};

/**
 * The keyring of a stanza of access.conf as our YAML; null if it has none, or
 * none that can be used, which a warning explains. `defaultHome`: GPG_HOME_DIR
 * of fwknopd.conf.
 */
export function convertServerGpg(
  settings: Settings,
  defaultHome: string | null,
): string | null {
  for (const [keyword, yes] of Object.entries(UNSIGNED)) {
    const directive = settings.get(keyword);
    if (directive && isYes(directive) === yes) {
      settings.warn(directive, "a good signature is always wanted here");
    }
  }
  settings.note(
    "GPG_DECRYPT_PW",
    "not converted: the server's key must have no passphrase",
  );
  settings.note("GPG_EXE", "not converted: gpg is found by PATH");
  const recipient = settings.get("GPG_DECRYPT_ID");
  if (!recipient) return null;
  if (settings.has("KEY") || settings.has("KEY_BASE64")) {
    const words = "not converted: the stanza has a passphrase, too";
    return settings.warn(recipient, words);
  }
  const signers = (settings.get("GPG_FINGERPRINT_ID")?.value ?? "")
    .split(",").map((id) => id.replaceAll(" ", "").toUpperCase());
  if (!signers.every((id) => FINGERPRINT.test(id))) {
    return settings.warn(
      recipient,
      "not converted: name the keys that may sign by their whole fingerprints " +
        "in GPG_FINGERPRINT_ID",
    );
  }
  settings.note(
    "GPG_REMOTE_ID",
    "not converted: GPG_FINGERPRINT_ID alone tells who may sign",
  );
  // Root's keyring is the one that fwknopd takes by default.
  const home = settings.get("GPG_HOME_DIR")?.value ?? defaultHome ??
    "/root/.gnupg";
  const list = signers.map((id) => formatJson(id)).join(", ");
  return `{ home: ${formatJson(home)}, recipient: ` +
    `${formatJson(recipient.value)}, signers: [${list}] }`;
}

/** As {@linkcode convertServerGpg}, of a stanza of .fwknoprc. */
export function convertClientGpg(settings: Settings): string | null {
  const use = settings.get("USE_GPG");
  if (!isOn(use)) return null;
  const missing = ["GPG_RECIPIENT", "GPG_SIGNER"]
    .filter((keyword) => !settings.has(keyword));
  if (missing.length > 0) {
    const names = missing.join(" and ");
    return settings.warn(use, `not converted without ${names}`);
  }
  // The client's default; gpg itself expands the tilde.
  const home = settings.get("GPG_HOMEDIR")?.value ?? "~/.gnupg";
  const recipient = settings.get("GPG_RECIPIENT")!.value;
  const signer = settings.get("GPG_SIGNER")!.value;
  return `{ home: ${formatJson(home)}, recipient: ${formatJson(recipient)}, ` +
    `signer: ${formatJson(signer)} }`;
}
