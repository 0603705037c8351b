/** Lines of fwknop's files: a keyword, and what comes after it. */

import { ConfigError } from "../../../values/errors.ts";
import {
  onePort,
  type PortRange,
  type Protocol,
} from "../../../values/ports.ts";

/** A file that was given, or that another one includes. */
export interface SourceFile {
  /** As messages show it. */
  readonly name: string;
  readonly text: string;
}

/** Reads files that others include. Null: it cannot be read. */
export interface Includes {
  readonly read: (name: string) => string | null;
  /** The names of a folder's files, without the folder. */
  readonly list: (name: string) => readonly string[] | null;
}

/** One line. */
export interface Directive {
  readonly keyword: string;
  /** Never empty. */
  readonly value: string;
  /** "FILE:LINE" for messages. */
  readonly where: string;
}

/** Keywords with what they were last set to, in the order in which they were. */
export type Settings = ReadonlyMap<string, Directive>;

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
    else warnings.push(`${where}: ${keyword}: has no value, left out`);
  }
  return directives;
}

/** The last value of each keyword; others before it are named. */
export function settle(
  directives: readonly Directive[],
  warnings: string[],
): Map<string, Directive> {
  const settings = new Map<string, Directive>();
  for (const directive of directives) {
    const { keyword, where } = directive;
    const before = settings.get(keyword);
    if (before) {
      warnings.push(`${before.where}: ${keyword}: set again at ${where}`);
      settings.delete(keyword);
    }
    settings.set(keyword, directive);
  }
  return settings;
}

/** Which of some keywords was set last: fwknopd has one place for all of them. */
export function lastOf(
  settings: Settings,
  ...keywords: readonly string[]
): Directive | undefined {
  return [...settings.values()].findLast(({ keyword }) =>
    keywords.includes(keyword)
  );
}

/** True if fwknopd reads a value as yes. */
export function isYes(directive: Directive | undefined): boolean {
  return /^y/i.test(directive?.value ?? "");
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
  { keyword, value, where }: Directive,
  warnings: string[],
): PortRange[] {
  return value.split(",").flatMap((text) => {
    const entry = text.trim();
    const match = /^(tcp|udp)\/\s*\+?(\d+)(.*)$/i.exec(entry);
    const port = Number(match?.[2]);
    if (!match || port < 1 || port > 65535) {
      warnings.push(`${where}: ${keyword}: "${entry}" is left out`);
      return [];
    }
    const protocol = match[1]!.toLowerCase() as Protocol;
    if (/^-\d/.test(match[3]!)) {
      const read = `${protocol}/${port}`;
      const words = `"${entry}" is ${read} alone, as fwknop reads it`;
      warnings.push(`${where}: ${keyword}: ${words}`);
    }
    return [onePort(protocol, port)];
  });
}
