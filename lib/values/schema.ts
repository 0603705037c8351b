/**
 * Shapes of plain values, as YAML gives them: a schema reads a value into what
 * the program uses and notes every mistake on the way, with its path, what is
 * wanted and what was found. Each also is its own JSON Schema.
 * @module
 */

import { ConfigError } from "./errors.ts";
import { counted, formatJson, nearest } from "./text.ts";

/** A piece of JSON Schema (draft 2020-12). */
type JsonSchema = Readonly<Record<string, unknown>>;

/** Reader of a value, and its JSON Schema. */
export interface Schema<T> {
  /**
   * Reads a value; undefined when it cannot be used, which is noted then.
   * Never throws, whatever the value.
   */
  read(value: unknown, path: string, mistakes: Mistake[]): T | undefined;
  readonly json: JsonSchema;
}

export interface Field<T, F = T> {
  readonly schema: Schema<T>;
  readonly needed: boolean;
  /** Value if the key is absent or wrong; undefined: the mapping is unusable then. */
  readonly fallback: F | undefined;
}

type Fields = Readonly<Record<string, Field<unknown, unknown>>>;
type FieldValues<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T, infer U> ? T | U : never;
};

/** A key that must be there; with a fallback, to go on and find more mistakes. */
export function required<T>(
  schema: Schema<T>,
  fallback?: NoInfer<T>,
): Field<T, T> {
  return { schema, needed: true, fallback };
}

/** A key that may be absent: then, and when it is wrong, it is `fallback`. */
export function optional<T, const F>(
  schema: Schema<T>,
  fallback: F,
): Field<T, F> {
  return { schema, needed: false, fallback };
}

/** A mapping that may be absent: then it is what an empty one is read as. */
export function section<T>(schema: Schema<T>): Field<T> {
  return { schema, needed: false, fallback: schema.read({}, "", []) };
}

/** More about a text. */
interface TextOptions {
  /** True: a message never shows the value. */
  readonly secret?: boolean;
  readonly json?: JsonSchema;
  /** Hint for a text that is not understood. */
  readonly hint?: (text: string) => string | undefined;
}

/**
 * Text that `parse` understands; a number stands for its digits. `wanted` goes
 * after "must be". A secret's value is never shown.
 */
export function text<T>(
  wanted: string,
  parse: (text: string) => T | null,
  options: TextOptions = {},
): Schema<T> {
  return {
    read(value, path, mistakes) {
      const words = typeof value === "number" ? String(value) : value;
      const isText = typeof words === "string";
      const parsed = isText ? parse(words) : null;
      if (parsed !== null) return parsed;
      const hint = isText ? options.hint?.(words) : undefined;
      return mistake(mistakes, path, wanted, value, { ...options, hint });
    },
    json: { type: ["string", "number"], description: wanted, ...options.json },
  };
}

/** Any text but an empty one. */
export const words: Schema<string> = text(
  "text",
  (value) => value === "" ? null : value,
  { json: { minLength: 1 } },
);

export function oneOf<const W extends string>(
  words: readonly W[],
): Schema<W> {
  const { read } = text(
    words.join(", ").replace(/, ([^,]*)$/, " or $1"),
    (value) => words.find((word) => word === value) ?? null,
    { hint: (value) => nearest(value, words) },
  );
  return { read, json: { enum: words } };
}

/** True or false. */
export const bool: Schema<boolean> = {
  read(value, path, mistakes) {
    if (typeof value === "boolean") return value;
    return mistake(mistakes, path, "true or false", value);
  },
  json: { type: "boolean" },
};

/** Takes whatever is there: for keys that are judged elsewhere. */
export const anything: Schema<unknown> = {
  read: (value) => value === undefined ? null : value,
  json: {},
};

/** A list with at least one entry; wrong entries are left out. */
export function list<T>(entry: Schema<T>): Schema<readonly T[]> {
  return {
    read(value, path, mistakes) {
      if (!Array.isArray(value) || value.length === 0) {
        const filled = Array.isArray(value) ? " with at least one entry" : "";
        return mistake(mistakes, path, `a list${filled}`, value);
      }
      return value.map((item, index) =>
        entry.read(item, at(path, index), mistakes)
      ).filter((item) => item !== undefined);
    },
    json: { type: "array", items: entry.json, minItems: 1 },
  };
}

/** One entry alone, or a list of them; an empty list too with `empty`. */
export function oneOrMore<T>(
  entry: Schema<T>,
  options: { empty?: boolean } = {},
): Schema<readonly T[]> {
  const many = list(entry);
  return {
    read(value, path, mistakes) {
      if (Array.isArray(value)) {
        if (value.length === 0 && options.empty) return [];
        return many.read(value, path, mistakes);
      }
      const one = entry.read(value, path, mistakes);
      return one === undefined ? undefined : [one];
    },
    json: { anyOf: [entry.json, many.json] },
  };
}

/** A mapping with these keys and no others. Nothing at all is an empty one. */
export function object<F extends Fields>(
  fields: F,
  options: { secret?: boolean } = {},
): Schema<FieldValues<F>> {
  const names = Object.keys(fields);
  const needed = names.filter((name) => fields[name]!.needed);
  return {
    read(value, path, mistakes) {
      const mapping = value === null ? {} : value;
      if (!isMapping(mapping)) {
        return mistake(mistakes, path, "a mapping", value, options);
      }
      for (const key of Object.keys(mapping)) {
        if (Object.hasOwn(fields, key)) continue;
        // A secret pasted in the place of a key stays a secret.
        const shown = options.secret && key.length > 20 ? "(hidden)" : key;
        mistakes.push({
          path: at(path, shown),
          text: "unknown key",
          hint: nearest(shown, names),
        });
      }
      let whole = true;
      const read: Record<string, unknown> = {};
      for (const [key, field] of Object.entries(fields)) {
        const place = at(path, key);
        let found: unknown;
        if (Object.hasOwn(mapping, key)) {
          found = field.schema.read(mapping[key], place, mistakes);
        } else if (field.needed) {
          mistakes.push({ path: place, text: "is missing" });
        }
        read[key] = found === undefined ? field.fallback : found;
        whole &&= read[key] !== undefined;
      }
      return whole ? read as FieldValues<F> : undefined;
    },
    json: {
      type: needed.length > 0 ? "object" : ["object", "null"],
      properties: Object.fromEntries(
        names.map((name) => [name, fields[name]!.schema.json]),
      ),
      required: needed,
      additionalProperties: false,
    },
  };
}

/** Names of clients, services, commands and sequences. */
export const NAME = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  wanted: `1 to 64 letters, digits, ".", "_" or "-" with a letter or digit ` +
    `first`,
} as const;

/** A mapping from names to one kind of value, in the file's order; wrong entries are left out. */
export function named<T>(
  name: { readonly wanted: string; readonly pattern: RegExp },
  entry: Schema<T>,
): Schema<ReadonlyMap<string, T>> {
  return {
    read(value, path, mistakes) {
      const mapping = value === null ? {} : value;
      if (!isMapping(mapping)) {
        return mistake(mistakes, path, "a mapping", value);
      }
      const read = new Map<string, T>();
      for (const [key, item] of Object.entries(mapping)) {
        if (!name.pattern.test(key)) {
          const text = `the name must be ${name.wanted}, got ${show(key)}`;
          mistakes.push({ path, text });
          continue;
        }
        const found = entry.read(item, at(path, key), mistakes);
        if (found !== undefined) read.set(key, found);
      }
      return read;
    },
    json: {
      type: ["object", "null"],
      propertyNames: { pattern: name.pattern.source },
      additionalProperties: entry.json,
    },
  };
}

/** A mapping by one schema, all else by another. */
export function mappingOr<M, T>(
  mapping: Schema<M>,
  other: Schema<T>,
): Schema<M | T> {
  return {
    read: (value, path, mistakes) =>
      (isMapping(value) ? mapping : other).read(value, path, mistakes),
    json: { anyOf: [other.json, mapping.json] },
  };
}

/** One thing that is wrong in a file. */
export interface Mistake {
  /** Where, as `clients.alice.open[1]`; "" = the whole file. */
  readonly path: string;
  readonly text: string;
  readonly hint?: string | undefined;
  /** File that it is in; absent: the one that is read. */
  readonly file?: string;
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
    mistakes.map(({ path, text, file: place = file }) =>
      `${place}: ${path && `${path}: `}${text}`
    ),
    hints.length > 0 ? [...new Set(hints)].join("\n") : undefined,
  );
}

/** The path of an entry of a mapping or a list. */
export function at(path: string, key: string | number): string {
  if (typeof key === "number") return `${path}[${key}]`;
  const isPlain = /^[\w.-]{1,64}$/.test(key) || key === "(hidden)";
  const name = isPlain ? key : show(key);
  return path === "" ? name : `${path}.${name}`;
}

/** A found value, in double quotes; of lists and mappings only what they are. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length ? "a list" : "an empty list";
  if (value instanceof Date) return `"${String(value.getTime())}"`;
  if (typeof value === "object") return "a mapping";
  const words = String(value);
  return formatJson(words.length > 64 ? words.slice(0, 64) + "…" : words);
}

/** True if a value is a mapping as YAML makes them. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Reads JSON as a mapping; null where it is none. */
export function parseMapping(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isMapping(value) ? value : null;
  } catch {
    return null;
  }
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

/** Expected contents of a key file. */
export interface KeyKind<T extends object> {
  /** Null if the text is no such key. */
  readonly parse: (text: string) => T | null;
  /** Goes after "must hold". */
  readonly wanted: string;
  /** True if the file is refused when others can read it. */
  readonly secret: boolean;
}

/** Key in a file, or the mistake there. */
export type KeyRead<T extends object> =
  /** Null: there is no such file. */
  | { readonly ok: true; readonly key: T | null }
  | { readonly ok: false; readonly mistake: Omit<Mistake, "path"> };

/** Reads the key in a file, by the name that the configuration gives it. */
export type ReadKey = <T extends object>(
  name: string,
  kind: KeyKind<T>,
) => KeyRead<T>;
