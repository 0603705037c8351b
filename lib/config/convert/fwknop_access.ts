/** Stanzas of access.conf as clients of ours. */

import { parsePrefix } from "../../values/address.ts";
import { NAME } from "../shapes.ts";
import { scalar } from "../write.ts";
import { convertServerGpg } from "./fwknop_gpg.ts";
import { type ConvertedKeys, convertKeys, formatKeys } from "./fwknop_keys.ts";
import {
  type Directive,
  isYes,
  type Settings,
  settle,
} from "./fwknop_lines.ts";
import { nameTheRest } from "./fwknop_notes.ts";
import { convertOpen } from "./fwknop_open.ts";

/** What stanzas come to: entries of our YAML, from column 0 on. */
export interface ConvertedAccess {
  readonly clients: readonly string[];
  readonly services: readonly string[];
}

/** So that names that are made of it are still names. */
const MAX_USER_LENGTH = 32;

/** Defaults of fwknopd, seconds. */
const DEFAULT_SECONDS = 30;
const DEFAULT_MAX_SECONDS = 300;

/** Converts the lines of access.conf, with what it includes. */
export function convertAccess(
  directives: readonly Directive[],
  warnings: string[],
): ConvertedAccess {
  const stanzas: Directive[][] = [];
  for (const directive of directives) {
    const { keyword, where } = directive;
    if (keyword === "SOURCE") stanzas.push([directive]);
    else if (stanzas.length > 0) stanzas.at(-1)!.push(directive);
    else warnings.push(`${where}: ${keyword}: is before any SOURCE, left out`);
  }
  const clients: string[] = [];
  const services: string[] = [];
  const names = new Set<string>();
  const macs = new Map<string, string>();
  for (const stanza of stanzas) {
    const settings = settle(stanza, warnings);
    const { where } = stanza[0]!;
    nameTheRest(settings, warnings);
    const gpg = convertServerGpg(settings, warnings);
    const keys = convertKeys(settings, `${where}: the stanza`, warnings, gpg);
    const from = convertSource(settings.get("SOURCE")!, warnings);
    if (!keys || !from) continue;
    const name = nameOf(settings, names);
    noteShared(keys, name, where, macs, warnings);
    const { open, service } = convertOpen(settings, name, warnings);
    if (service) services.push(service);
    const lines = [
      formatKeys(keys),
      `open: [${open.join(", ")}]`,
      ...convertTimes(settings, warnings),
      ...from,
      ...isYes(settings.get("REQUIRE_SOURCE_ADDRESS")) ||
          isYes(settings.get("REQUIRE_SOURCE"))
        ? ["require_address: true"]
        : [],
      ...convertExpiry(settings, warnings),
    ];
    clients.push(
      `${scalar(name)}:\n${lines.map((line) => `  ${line}\n`).join("")}`,
    );
  }
  return { clients, services };
}

/** The user that a stanza wants, or a number. */
function nameOf(settings: Settings, names: Set<string>): string {
  const user = settings.get("REQUIRE_USERNAME")?.value ?? "";
  const fits = NAME.pattern.test(user) && user.length <= MAX_USER_LENGTH;
  let name = fits ? user : `client${names.size + 1}`;
  while (names.has(name)) name += "-2";
  names.add(name);
  return name;
}

function noteShared(
  { hmacKeyBase64 }: ConvertedKeys,
  name: string,
  where: string,
  macs: Map<string, string>,
  warnings: string[],
): void {
  if (hmacKeyBase64 === null) return;
  const other = macs.get(hmacKeyBase64);
  if (other !== undefined) {
    warnings.push(
      `${where}: "${name}" has the HMAC key of "${other}": the key tells here ` +
        `who knocks, so give each its own, or make one client of them`,
    );
  }
  macs.set(hmacKeyBase64, name);
}

function convertTimes(settings: Settings, warnings: string[]): string[] {
  const seconds = (keyword: string, otherwise: number) => {
    const directive = settings.get(keyword);
    const value = Number(directive?.value ?? otherwise);
    if (Number.isInteger(value) && value >= 1) return value;
    warnings.push(
      `${directive!.where}: ${keyword}: "${directive!.value}" ` +
        `is taken for ${otherwise}`,
    );
    return otherwise;
  };
  const own = seconds("FW_ACCESS_TIMEOUT", DEFAULT_SECONDS);
  const most = seconds("MAX_FW_TIMEOUT", DEFAULT_MAX_SECONDS);
  return [`for: ${own}s`, `max_for: ${Math.max(own, most)}s`];
}

/** fwknopd compares where the packet comes from; we, whom it opens for. */
function convertSource(
  source: Directive,
  warnings: string[],
): string[] | null {
  const entries = source.value.split(",").map((text) => text.trim());
  if (entries.some((entry) => entry.toUpperCase() === "ANY")) {
    return ["any_address: true"];
  }
  const good = entries.filter((entry) => {
    if (parsePrefix(entry)) return true;
    warnings.push(`${source.where}: SOURCE: "${entry}" is left out`);
    return false;
  });
  // No address must not become any address.
  if (good.length === 0) return null;
  warnings.push(
    `${source.where}: SOURCE: limits here whom the packet opens for, and that ` +
      `must be where it comes from ("any_address: true" would allow another)`,
  );
  return [`from: [${good.map(scalar).join(", ")}]`];
}

function convertExpiry(settings: Settings, warnings: string[]): string[] {
  const epoch = settings.get("ACCESS_EXPIRE_EPOCH");
  const date = settings.get("ACCESS_EXPIRE");
  const directive = epoch ?? date;
  if (!directive) return [];
  const day = /^(\d{2})\/(\d{2})\/(\d{4})$/.exec(date?.value ?? "");
  const ms = epoch
    ? Number(epoch.value) * 1000
    : day
    ? Date.UTC(Number(day[3]), Number(day[1]) - 1, Number(day[2]))
    : NaN;
  if (Number.isNaN(ms) || Math.abs(ms) > 8.64e15) {
    // An end that cannot be read must not become no end.
    warnings.push(
      `${directive.where}: ${directive.keyword}: "${directive.value}" is no ` +
        `time: the client is made expired`,
    );
    return ["expires: 1970-01-01T00:00:00Z"];
  }
  if (!epoch) {
    warnings.push(`${directive.where}: ACCESS_EXPIRE: taken as midnight UTC`);
  }
  return [`expires: ${new Date(ms).toISOString().replace(".000", "")}`];
}
