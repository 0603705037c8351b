/** OpenPGP in access.conf and in .fwknoprc: keyrings in the place of a passphrase. */

import { FINGERPRINT } from "../../../dialects/fwknop/gpg.ts";
import { type Directive, isYes, type Settings } from "./lines.ts";

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

/** What is not as it was, where it says so. */
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
 * none that can be taken, which a warning tells then. `defaultHome`: GPG_HOME_DIR
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
  return `{ home: ${JSON.stringify(home)}, recipient: ` +
    `${JSON.stringify(recipient.value)}, signers: [${
      signers.map((id) => JSON.stringify(id)).join(", ")
    }] }`;
}

/** As {@linkcode convertServerGpg}, of a stanza of .fwknoprc. */
export function convertClientGpg(
  settings: Settings,
  warnings: string[],
): string | null {
  const use = settings.get("USE_GPG");
  if (!/^y$/i.test(use?.value ?? "")) return null;
  const words = ["GPG_HOMEDIR", "GPG_RECIPIENT", "GPG_SIGNER"].map((keyword) =>
    settings.get(keyword)?.value
  );
  if (words.some((word) => word === undefined)) {
    warnings.push(
      `${use!.where}: USE_GPG: not converted without GPG_HOMEDIR, ` +
        `GPG_RECIPIENT and GPG_SIGNER`,
    );
    return null;
  }
  const [home, recipient, signer] = words.map((word) => JSON.stringify(word));
  return `{ home: ${home}, recipient: ${recipient}, signer: ${signer} }`;
}
