/** Reading of fwknop's files: a keyword and its value a line, stanzas and what they include, warnings. */

import { formatPrefix, parsePrefix } from "../../../values/address.ts";
import { ConfigError } from "../../../values/errors.ts";
import {
  onePort,
  type PortRange,
  type Protocol,
} from "../../../values/ports.ts";
import type { Includes } from "../converted.ts";

/** A file that was given, or that another one includes. */
export interface SourceFile {
  /** As messages show it. */
  readonly name: string;
  readonly text: string;
}

/** One line. */
export interface Directive {
  readonly keyword: string;
  /** Never empty. */
  readonly value: string;
  /** "FILE:LINE" for messages. */
  readonly where: string;
}

/** A set of keywords, written with spaces between. */
export function keywords(words: string): ReadonlySet<string> {
  return new Set(words.trim().split(/\s+/));
}

/** Warnings about keywords that are not converted: the first that fits. */
export type Notes = readonly (readonly [keywords: RegExp, words: string])[];

/** Adds a warning about a line, once. Null: nothing comes of the line. */
export function warn(
  warnings: string[],
  { where, keyword }: Pick<Directive, "where" | "keyword">,
  words: string,
): null {
  const line = `${where}: ${keyword}: ${words}`;
  if (!warnings.includes(line)) warnings.push(line);
  return null;
}

/** Settings of a stanza or of files, and the warnings about them. */
export class Settings {
  /** Each keyword with what it was last set to, in the order in which they were. */
  readonly values: ReadonlyMap<string, Directive>;
  readonly warnings: string[];
  /** Its place, for warnings about what is missing in it. */
  readonly where: string;

  constructor(
    values: ReadonlyMap<string, Directive>,
    warnings: string[],
    where: string,
  ) {
    this.values = values;
    this.warnings = warnings;
    this.where = where;
  }

  get(keyword: string): Directive | undefined {
    return this.values.get(keyword);
  }

  has(keyword: string): boolean {
    return this.values.has(keyword);
  }

  /** Which of some keywords was set last: fwknopd has one place for all of them. */
  last(...keywords: readonly string[]): Directive | undefined {
    return [...this.values.values()].findLast(({ keyword }) =>
      keywords.includes(keyword)
    );
  }

  /** Warns about a line, or about something that is missing. */
  warn(at: Directive | undefined, words: string): null {
    if (at) return warn(this.warnings, at, words);
    this.warnings.push(`${this.where}: ${words}`);
    return null;
  }

  /** Warns about a keyword if it is set. */
  note(keyword: string, words: string): void {
    const directive = this.get(keyword);
    if (directive) this.warn(directive, words);
  }

  /** Names each keyword that nothing of ours stands for, and that `isIdle` does not let pass. */
  nameTheRest(
    converted: ReadonlySet<string>,
    notes: Notes,
    isIdle: (directive: Directive) => boolean,
  ): void {
    for (const directive of this.values.values()) {
      if (converted.has(directive.keyword) || isIdle(directive)) continue;
      const note = notes.find(([known]) => known.test(directive.keyword));
      this.warn(directive, note?.[1] ?? "unknown, left out");
    }
  }
}

/** fwknop reads lines into buffers of 1,024 bytes, and the rest as a new line. */
const MAX_LINE = 1022;

/**
 * Reads `KEYWORD value`, `KEYWORD: value` and `KEYWORD value;` lines; comments
 * go. Throws ConfigError for what would be read as something else; with
 * `strict`, for a line without a value, too, as fwknopd does not start then.
 */
export function readDirectives(
  { name, text }: SourceFile,
  warnings: string[],
  strict = false,
): Directive[] {
  const directives: Directive[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const where = `${name}:${index + 1}`;
    const match = /^\s*(\S+?):?\s+([^;\r]*[^;\s])/.exec(line);
    // The rest of the line may be a key: it is not shown.
    const keyword = match?.[1] ?? /^\s*([A-Z_%a-z0-9]+)/.exec(line)?.[1] ?? "?";
    const wrong = (words: string) =>
      new ConfigError([`${where}: ${keyword}: ${words}`]);
    if (line.includes("\ufffd") || line.includes("\0")) {
      throw wrong("must be UTF-8, got another byte");
    }
    if (new TextEncoder().encode(line).length > MAX_LINE) {
      throw wrong(`must be at most ${MAX_LINE} bytes long: fwknop cuts it`);
    }
    if (match) directives.push({ keyword, value: match[2]!, where });
    else if (strict) throw wrong("has no value: fwknopd does not start so");
    else warn(warnings, { where, keyword }, "has no value, left out");
  }
  return directives;
}

/** Deepest nesting of files that include each other, as in fwknopd. */
const MAX_DEPTH = 3;

/** The lines from one SOURCE on, and those of the key files that they name. */
export type Stanza = Directive[];

/**
 * The stanzas of a file and of those that it includes, in fwknopd's order. A
 * stanza goes on behind an `%include`, whose file begins without one.
 */
export function readStanzas(
  file: SourceFile,
  includes: Includes,
  warnings: string[],
  stanzas: Stanza[] = [],
  depth = 1,
): Stanza[] {
  let stanza: Stanza | null = null;
  for (const directive of readDirectives(file, warnings, true)) {
    const { keyword, value } = directive;
    const cannotRead = (name: string) =>
      warn(warnings, directive, `cannot read "${name}"`);
    const filesOf = (names: readonly string[]) =>
      names.flatMap((name): SourceFile[] => {
        const text = includes.read(name) ?? cannotRead(name);
        return text === null ? [] : [{ name, text }];
      });
    if (keyword === "SOURCE") {
      stanza = [directive];
      stanzas.push(stanza);
    } else if (keyword === "%include" || keyword === "%include_folder") {
      if (depth >= MAX_DEPTH) {
        warn(warnings, directive, "too deep, left out");
        continue;
      }
      const names = keyword === "%include"
        ? [value]
        : includes.list(value)?.filter((file) => file.endsWith(".conf"))
          .toSorted().map((file) => `${value.replace(/\/$/, "")}/${file}`);
      if (!names) cannotRead(value);
      for (const next of filesOf(names ?? [])) {
        readStanzas(next, includes, warnings, stanzas, depth + 1);
      }
    } else if (stanza === null) {
      warn(warnings, directive, "is before any SOURCE, left out");
    } else if (keyword === "%include_keys") {
      // A key file may belong to a user: fwknopd takes nothing but keys from it.
      const words = "not a key: left out of a key file, as by fwknopd";
      const found = filesOf([value]).flatMap((next) =>
        readDirectives(next, warnings, true)
      );
      stanza.push(
        ...found.filter((directive) =>
          KEY_FILE_KEYWORDS.has(directive.keyword) ||
          warn(warnings, directive, words)
        ),
      );
    } else {
      stanza.push(directive);
    }
  }
  return stanzas;
}

/** Keywords of a stanza that a key file may have. */
const KEY_FILE_KEYWORDS = keywords(`
  KEY KEY_BASE64 HMAC_KEY HMAC_KEY_BASE64 GPG_DECRYPT_ID GPG_DECRYPT_PW
  GPG_ALLOW_NO_PW GPG_REQUIRE_SIG GPG_DISABLE_SIG GPG_IGNORE_SIG_VERIFY_ERROR
  GPG_REMOTE_ID GPG_FINGERPRINT_ID`);

/** The last value of each keyword; others before it are named. */
export function settle(
  directives: readonly Directive[],
  warnings: string[],
): Map<string, Directive> {
  const settings = new Map<string, Directive>();
  for (const directive of directives) {
    const { keyword, where } = directive;
    const before = settings.get(keyword);
    if (before) warn(warnings, before, `set again at ${where}`);
    settings.delete(keyword);
    settings.set(keyword, directive);
  }
  return settings;
}

/** True if fwknopd reads a value as yes. */
export function isYes(directive: Directive | undefined): boolean {
  return /^y/i.test(directive?.value ?? "");
}

/** True if a switch of .fwknoprc is on: "yes" is not. */
export function isOn(directive: Directive | undefined): boolean {
  return /^y$/i.test(directive?.value ?? "");
}

/** The number that a text begins with, as strtol() reads it; 0 without one. */
export function leadingNumber(text: string): number {
  return Number(/^\s*[+-]?\d+/.exec(text)?.[0] ?? 0);
}

/** Every port of both protocols: what fwknopd lets a client ask for by default. */
export const ALL_PORTS: readonly PortRange[] = [
  { protocol: "tcp", first: 1, last: 65535 },
  { protocol: "udp", first: 1, last: 65535 },
];

/** Reads `tcp/22,udp/53`, one port each; others are named and left out. */
export function convertPorts(
  directive: Directive,
  warnings: string[],
): PortRange[] {
  return directive.value.split(",").flatMap((text) => {
    const entry = text.trim();
    const [, name, number, more] =
      /^(tcp|udp)\/\s*\+?(\d+)(.*)$/i.exec(entry) ?? [];
    const port = Number(number ?? 0);
    if (port < 1 || port > 65535) {
      warn(warnings, directive, `"${entry}" is left out`);
      return [];
    }
    const protocol = name!.toLowerCase() as Protocol;
    if (/^-\d/.test(more!)) {
      const words = `is ${protocol}/${port} alone, as fwknop reads it`;
      warn(warnings, directive, `"${entry}" ${words}`);
    }
    return [onePort(protocol, port)];
  });
}

/** IPv4, as fwknopd: `192.0.2.1`, `192.0.2.0/24` or `192.0.2.0/255.255.255.0`. */
export function readNetwork(entry: string): string | null {
  const [host, mask = "32", ...rest] = entry.split("/");
  if (!IPV4.test(host!) || rest.length > 0) return null;
  const bits = /^\d{1,2}$/.test(mask) ? Number(mask) : bitsOf(mask);
  if (bits === null || bits < 1) return null;
  const prefix = parsePrefix(bits === 32 ? host! : `${host}/${bits}`);
  return prefix && formatPrefix(prefix);
}

const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;

/** Length of a mask in bits; null if they are not all in front. */
function bitsOf(mask: string): number | null {
  const address = parsePrefix(mask);
  if (!address || !IPV4.test(mask)) return null;
  const bits = [...address.bytes.slice(12)].map((byte) =>
    byte.toString(2).padStart(8, "0")
  ).join("");
  return /^1*0*$/.test(bits) ? bits.lastIndexOf("1") + 1 : null;
}
