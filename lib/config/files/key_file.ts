/** Files with keys that a configuration names. */

import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { counted } from "../../values/counted.ts";
import type { Mistake } from "../../values/mistake.ts";
import { trustMistake } from "./rights.ts";

/** What a file with a key must hold. */
export interface KeyKind<T extends object> {
  /** Null if the text is no such key. */
  readonly parse: (text: string) => T | null;
  /** Goes after "must hold". */
  readonly wanted: string;
  /** Whether it is refused when others can read it. */
  readonly secret: boolean;
}

/** What was found in a file with a key. */
export type KeyRead<T extends object> =
  /** Null: there is no such file. */
  | { readonly ok: true; readonly key: T | null }
  | { readonly ok: false; readonly mistake: Omit<Mistake, "path"> };

/** Reads the key in a file, by the name that the configuration gives it. */
export type ReadKey = <T extends object>(
  name: string,
  kind: KeyKind<T>,
) => KeyRead<T>;

/** Reads the key in a file. */
export function readKeyIn<T extends object>(
  runtime: Runtime,
  file: string,
  { parse, wanted, secret }: KeyKind<T>,
): KeyRead<T> {
  const wrong = (text: string, hint?: string): KeyRead<T> => ({
    ok: false,
    mistake: { text: `"${file}" ${text}`, hint },
  });
  try {
    const info = runtime.files.stat(file);
    if (!info) return { ok: true, key: null };
    if (info.isFolder) return wrong("is a folder, not a file");
    const trust = trustMistake(runtime, file, { secret });
    if (trust) {
      const { place, text, hint } = trust;
      return { ok: false, mistake: { text: `"${place}" ${text}`, hint } };
    }
    const text = runtime.files.readText(file);
    const key = parse(text.trim());
    if (key) return { ok: true, key };
    return wrong(
      `must hold ${wanted}, got ${counted(text.length, "character")}`,
    );
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return wrong(`cannot be read: ${error.message}`);
  }
}
