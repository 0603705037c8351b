/** What is wrong in a file: where, what is wanted, what was found. */

import { counted } from "./counted.ts";
import { ConfigError } from "./errors.ts";
import { formatJson } from "./text.ts";

/** One thing that is wrong in a file. */
export interface Mistake {
  /** Where, as `clients.alice.open[1]`; "" = the whole file. */
  readonly path: string;
  readonly text: string;
  readonly hint?: string | undefined;
}

/** All mistakes of a file as one error, a line each: `FILE: PATH: TEXT`. */
export function configError(
  file: string,
  mistakes: readonly Mistake[],
): ConfigError {
  const hinted = mistakes.filter(({ hint }) => hint !== undefined);
  const hints = hinted.map(({ path, hint }) =>
    hinted.length === 1 || path === "" ? hint : `${path}: ${hint}`
  );
  return new ConfigError(
    mistakes.map(({ path, text }) => `${file}: ${path && `${path}: `}${text}`),
    hints.length > 0 ? [...new Set(hints)].join("\n") : undefined,
  );
}

/** The path of an entry of a mapping or a list. */
export function at(path: string, key: string | number): string {
  if (typeof key === "number") return `${path}[${key}]`;
  const name = /^[\w.-]{1,64}$/.test(key) || key === "(hidden)"
    ? key
    : show(key);
  return path === "" ? name : `${path}.${name}`;
}

/** A found value, in double quotes; of lists and mappings only what they are. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) {
    return value.length === 0 ? "an empty list" : "a list";
  }
  if (value instanceof Date) return `"${String(value.getTime())}"`;
  if (typeof value === "object") return "a mapping";
  const words = String(value);
  return formatJson(words.length > 64 ? words.slice(0, 64) + "…" : words);
}

/** Whether a value is a mapping as YAML makes them. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Notes that a value is not what is wanted. A secret's value is not shown. */
export function mistake(
  mistakes: Mistake[],
  path: string,
  wanted: string,
  value: unknown,
  options: { secret?: boolean; hint?: string | undefined } = {},
): undefined {
  const got = !options.secret || value === null || typeof value === "object"
    ? show(value)
    : counted(String(value).length, "character");
  const { hint } = options;
  mistakes.push({ path, text: `must be ${wanted}, got ${got}`, hint });
}
