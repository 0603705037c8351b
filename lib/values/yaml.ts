/** YAML as plain values, with mistakes that quote nothing of a file of secrets. */

import { parse } from "@std/yaml/parse";
import type { Mistake } from "./schema.ts";
import { formatJson } from "./text.ts";

/** Reading of scalars: `core` knows numbers and booleans, `failsafe` keeps all as text. */
export type YamlSchema = "core" | "failsafe";

/**
 * Reads YAML; in neither schema is a time more than the text that it is. The
 * mistake never repeats the line, which may hold a secret.
 */
export function parseYaml(
  text: string,
  schema: YamlSchema = "core",
): { ok: true; value: unknown } | { ok: false; mistake: Mistake } {
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

/** Writes text as a YAML scalar: bare where it reads back as the same text. */
export function scalar(value: string): string {
  const bare = /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(value) &&
    [parse(value), parse(value, { schema: "core" })].every((read) =>
      read === value
    );
  return bare ? value : formatJson(value);
}
