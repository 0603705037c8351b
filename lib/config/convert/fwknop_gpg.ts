/** OpenPGP in access.conf and in .fwknoprc: keyrings in the place of a passphrase. */

import { FINGERPRINT } from "../../dialects/fwknop_gpg.ts";
import { isYes, type Settings } from "./fwknop_lines.ts";

/** The keywords that {@linkcode convertServerGpg} and {@linkcode convertClientGpg} take. */
export const GPG_KEYWORDS: readonly string[] = [
  "GPG_DECRYPT_ID",
  "GPG_FINGERPRINT_ID",
  "GPG_REMOTE_ID",
  "GPG_HOME_DIR",
  "GPG_ALLOW_NO_PW",
  "GPG_REQUIRE_SIG",
  "USE_GPG",
  "USE_GPG_AGENT",
  "GPG_RECIPIENT",
  "GPG_SIGNER",
  "GPG_HOMEDIR",
  "GPG_NO_SIGNING_PW",
];

/** Where root's keyring is, which fwknopd takes by default. */
const SERVER_HOME = "/root/.gnupg";

/**
 * The keyring of a stanza of access.conf as our YAML; null if it has none, or
 * none that can be taken, which a warning tells then.
 */
export function convertServerGpg(
  settings: Settings,
  warnings: string[],
): string | null {
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
  const home = settings.get("GPG_HOME_DIR")?.value ?? SERVER_HOME;
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
  if (!use || !isYes(use)) return null;
  const words = ["GPG_HOMEDIR", "GPG_RECIPIENT", "GPG_SIGNER"].map((keyword) =>
    settings.get(keyword)?.value
  );
  if (words.some((word) => word === undefined)) {
    warnings.push(
      `${use.where}: USE_GPG: not converted without GPG_HOMEDIR, ` +
        `GPG_RECIPIENT and GPG_SIGNER`,
    );
    return null;
  }
  const [home, recipient, signer] = words.map((word) => JSON.stringify(word));
  return `{ home: ${home}, recipient: ${recipient}, signer: ${signer} }`;
}
