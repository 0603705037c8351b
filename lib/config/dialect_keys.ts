/** Keys of dialects other than our own, from the files that hold them. */

import type { RsaKey } from "../dialects/openspa/open.ts";
import type { Client, OwnKey } from "./config.ts";
import { OPENSPA_CLIENT_KEY } from "../dialects/openspa/keys.ts";
import type { KeyKind, ReadKey } from "./files/key_file.ts";
import type { Mistake } from "../values/mistake.ts";

/** Where keys come from. */
interface Source {
  readonly readOther?: ReadKey;
}

/** Reads the server's own key in a dialect; there may be none yet. */
export function readOwnKey<T extends object>(
  dialect: "openme" | "openspa",
  yaml: Readonly<Record<typeof dialect, { readonly key: string }>>,
  kind: KeyKind<T>,
  { readOther }: Source,
  mistakes: Mistake[],
): OwnKey<T> {
  const file = yaml[dialect].key;
  const read = readOther?.(file, kind) ?? { ok: true, key: null };
  if (read.ok) return { file, key: read.key };
  mistakes.push({ path: `${dialect}.key`, ...read.mistake });
  return { file, key: null };
}

/** Reads what an OpenSPA client is known by; null, and a mistake, if it cannot. */
export function readOpenspa(
  { uuid, key: file }: { readonly uuid: Uint8Array; readonly key: string },
  path: string,
  { readOther }: Source,
  mistakes: Mistake[],
): Client["openspa"] {
  const read = readOther<RsaKey>?.(file, OPENSPA_CLIENT_KEY);
  if (read?.ok && read.key) return { uuid, key: read.key };
  const missing = {
    text: `"${file}" is missing`,
    hint: "it is the client's public key, in PEM",
  };
  const mistake = !read || read.ok ? missing : read.mistake;
  mistakes.push({ path: `${path}.openspa.key`, ...mistake });
  return null;
}
