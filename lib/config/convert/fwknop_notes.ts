/** What of access.conf is not converted, and what to do about it. */

import { GPG_KEYWORDS } from "./fwknop_gpg.ts";
import { KEY_KEYWORDS } from "./fwknop_keys.ts";
import type { Settings } from "./fwknop_lines.ts";

/** What was converted, or is no concern when it has its default. */
const CONVERTED: ReadonlySet<string> = new Set([
  ...KEY_KEYWORDS,
  ...GPG_KEYWORDS,
  "SOURCE",
  "REQUIRE_SOURCE",
  "REQUIRE_SOURCE_ADDRESS",
  "ACCESS_EXPIRE",
  "ACCESS_EXPIRE_EPOCH",
  "OPEN_PORTS",
  "RESTRICT_PORTS",
  "FW_ACCESS_TIMEOUT",
  "MAX_FW_TIMEOUT",
  "FORCE_NAT",
]);

/** What is not converted, and what to do about it. */
const NOTES: readonly [keywords: RegExp, words: string][] = [
  [/^DESTINATION$/, "not converted: every address of the machine is meant"],
  [
    /^REQUIRE_USERNAME$/,
    "names the client here; its HMAC key tells who knocks, not the user name",
  ],
  [/^FORCE_MASQUERADE$/, "only together with FORCE_NAT"],
  [/^FORCE_SNAT$/, "not converted: masquerade the service instead"],
  [/^(FORWARD_ALL|DISABLE_DNAT)$/, "not converted: there is no gateway mode"],
  [
    /^(ENABLE_CMD|CMD_EXEC|CMD_SUDO)/,
    'not converted: name each command under "commands" and in the client\'s ' +
    '"run"',
  ],
  [
    /^CMD_CYCLE/,
    'not converted: use "hooks", or the firewall backend "command"',
  ],
  [
    /^GPG_DECRYPT_PW$/,
    "not converted: the server's key must have no passphrase",
  ],
  [/^GPG_/, "not converted: a good signature is always wanted"],
];

/** Names each keyword of a stanza that nothing of ours stands for. */
export function nameTheRest(settings: Settings, warnings: string[]): void {
  for (const { keyword, value, where } of settings.values()) {
    if (CONVERTED.has(keyword)) continue;
    if (keyword === "FORCE_MASQUERADE" && settings.has("FORCE_NAT")) continue;
    if (keyword === "DESTINATION" && value.toUpperCase() === "ANY") continue;
    if (/^n/i.test(value) && SWITCHES.has(keyword)) continue;
    const note = NOTES.find(([keywords]) => keywords.test(keyword));
    const words = note?.[1] ?? "unknown, left out";
    warnings.push(`${where}: ${keyword}: ${words}`);
  }
}

/** Where N changes nothing. */
const SWITCHES: ReadonlySet<string> = new Set([
  "ENABLE_CMD_EXEC",
  "ENABLE_CMD_SUDO_EXEC",
  "FORCE_MASQUERADE",
  "FORWARD_ALL",
  "DISABLE_DNAT",
]);
