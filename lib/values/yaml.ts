/** YAML as plain values, with mistakes that quote nothing of a file of secrets. */

import { parse } from "@std/yaml/parse";
import { ConfigError } from "./errors.ts";
import { at, configError, isMapping, type Mistake, mistake } from "./schema.ts";
import { formatJson } from "./text.ts";

/**
 * Reads YAML: `core` knows numbers and booleans, `failsafe` keeps all scalars as
 * text; in neither is a time more than the text that it is. The mistake never
 * repeats the line, which may hold a secret.
 */
export function parseYaml(
  text: string,
  schema: "core" | "failsafe" = "core",
): { ok: true; value: unknown } | { ok: false; mistake: Mistake } {
  const tab = findTab(text);
  if (tab !== null) return { ok: false, mistake: tab };
  try {
    return { ok: true, value: parse(text, { schema }) };
  } catch (error) {
    const { message, line } = error as Error & { line?: number };
    const why = /^[^"<\n]*?(?= at line |["<\n]|$)/.exec(message)![0].trim();
    const words = why.charAt(0).toLowerCase() + why.slice(1).replace(/:$/, "");
    return {
      ok: false,
      mistake: {
        path: line === undefined ? "" : `line ${line}`,
        text: words || "cannot be read as YAML",
      },
    };
  }
}

/** A key or an entry of block YAML behind a TAB, which the parser takes for something else; null if there is none. */
function findTab(text: string): Mistake | null {
  if (/^\s*[{[]/.test(text)) return null;
  const line = text.split("\n").findIndex((line) =>
    /^\s*\t\s*(-\s|[\w"'.-]+\s*:(\s|$))/.test(line)
  );
  return line < 0 ? null : {
    path: `line ${line + 1}`,
    text: "must be indented with spaces, got a TAB",
    hint: "write two spaces for each TAB",
  };
}

/** Writes text as a YAML scalar: bare where it reads back as the same text. */
export function scalar(value: string): string {
  const bare = /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(value) &&
    [parse(value), parse(value, { schema: "core" })].every((read) =>
      read === value
    );
  return bare ? value : formatJson(value);
}

// Another tool's YAML or JSON: unknown keys are its own business, what we need
// must be there and right, and every mistake is reported at once.

/** A mapping of another tool's file, with its path in it. */
export class Foreign {
  readonly path: string;
  readonly #mapping: Record<string, unknown>;
  readonly #mistakes: Mistake[];

  constructor(
    mapping: Record<string, unknown>,
    path: string,
    mistakes: Mistake[],
  ) {
    this.#mapping = mapping;
    this.path = path;
    this.#mistakes = mistakes;
  }

  /** Its keys, in the file's order. */
  get keys(): readonly string[] {
    return Object.keys(this.#mapping);
  }

  /** True if a key is there, with a value. */
  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** A value, its scalars as text; undefined where it is missing or null. */
  raw(key: string): unknown {
    const value = Object.hasOwn(this.#mapping, key) ? this.#mapping[key] : null;
    return NULLS.includes(value) ? undefined : value;
  }

  /** A mapping under a key; an empty one where it is missing. */
  section(key: string): Foreign {
    const path = at(this.path, key);
    const value = this.raw(key) ?? {};
    if (isMapping(value)) return new Foreign(value, path, this.#mistakes);
    mistake(this.#mistakes, path, "a mapping", value);
    return new Foreign({}, path, this.#mistakes);
  }

  /**
   * A text or number under a key, read by `read`, which returns null for what is
   * not wanted; undefined, and a mistake noted, for that. A missing one is
   * `fallback`, or a mistake where there is none.
   */
  value<T>(
    key: string,
    wanted: string,
    read: (text: string) => T | null,
    options: { readonly fallback?: T; readonly secret?: boolean } = {},
  ): T | undefined {
    const value = this.raw(key);
    const path = at(this.path, key);
    if (value === undefined || value === "") {
      if ("fallback" in options) return options.fallback;
      this.#mistakes.push({ path, text: "is missing" });
      return undefined;
    }
    const plain = typeof value === "string" || typeof value === "number";
    const found = plain ? read(String(value)) : null;
    if (found !== null) return found;
    return mistake(this.#mistakes, path, wanted, value, options);
  }

  /** Notes that something under a key is wrong. */
  wrong(key: string | number, text: string): void {
    this.#mistakes.push({ path: at(this.path, key), text });
  }
}

/**
 * Reads a whole file by `read`; throws ConfigError with every mistake. `read`
 * may give undefined only after it noted one.
 */
export function readForeign<T>(
  text: string,
  file: string,
  read: (root: Foreign) => T | undefined,
): T {
  // As text: the other tool may read 022 or yes in another way than YAML 1.2.
  const yaml = parseYaml(text, "failsafe");
  if (!yaml.ok) throw configError(file, [yaml.mistake]);
  const mistakes: Mistake[] = [];
  if (!isMapping(yaml.value)) {
    mistake(mistakes, "", "a mapping", yaml.value);
    throw configError(file, mistakes);
  }
  const result = read(new Foreign(yaml.value, "", mistakes));
  if (mistakes.length > 0) throw configError(file, mistakes);
  if (result === undefined) throw new ConfigError([`${file}: cannot be read`]);
  return result;
}

/** Values that YAML calls null. */
const NULLS: readonly unknown[] = [null, "~", "null", "Null", "NULL"];

/** Reads a port, 1 to 65535; null if it is none. */
export function parsePort(text: string): number | null {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : null;
}
