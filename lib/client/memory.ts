/**
 * Memory of the client from one run to the next: small files of the user
 * alone. It works without them: whatever goes wrong here is no mistake.
 * @module
 */

import { clientFile, folderOf } from "../config/files/places.ts";
import { makeOwnFolder, replaceOwn } from "../config/files/rights.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatEndpoint } from "../values/address.ts";
import { caught, OperatorError, orNull } from "../values/errors.ts";
import { isMapping } from "../values/schema.ts";
import type { Profile } from "./profile/profile.ts";

/** Permission bits that let others than the owner use a file. */
const OTHERS = 0o077;
/** Far more than any of these files has. */
const MAX_SIZE = 4096;

/** Contents of a memory file, as JSON. */
type Memory = Readonly<Record<string, unknown>>;

/** The file of a profile's memory of a kind, such as "address" or "tcp-22"; null where it has none. */
export function memoryFile(
  runtime: Runtime,
  { name, remember }: Pick<Profile, "name" | "remember">,
  kind: string,
): string | null {
  if (!remember) return null;
  return clientFile(runtime, `${encodeURIComponent(name)}.${kind}.json`);
}

/**
 * Reads what was remembered of a kind; null when there is nothing, others could
 * have written it, or it was of another server or in another network.
 */
export function recall(
  runtime: Runtime,
  profile: Profile,
  kind: string,
): Memory | null {
  const file = memoryFile(runtime, profile, kind);
  if (file === null) return null;
  return orNull(() =>
    caught(SyntaxError, () => {
      const info = runtime.files.stat(file);
      if (!info?.isFile || info.size > MAX_SIZE) return null;
      if (info.mode !== null && (info.mode & OTHERS) !== 0) return null;
      if (info.owner !== runtime.userId()) return null;
      const memory: unknown = JSON.parse(runtime.files.readText(file));
      if (!isMapping(memory)) return null;
      const here = circumstances(runtime, profile);
      const same = memory.server === here.server && memory.own === here.own;
      return same ? memory : null;
    }, () => null)
  );
}

/** Remembers this in place of what was, where that works. */
export function remember(
  runtime: Runtime,
  profile: Profile,
  kind: string,
  memory: Memory,
): void {
  const file = memoryFile(runtime, profile, kind);
  if (file === null) return;
  const content = { ...circumstances(runtime, profile), ...memory };
  orNull(() =>
    caught(OperatorError, () => {
      makeOwnFolder(runtime, folderOf(runtime, file));
      replaceOwn(runtime, file, JSON.stringify(content) + "\n");
    }, () => null)
  );
}

/** Forgets what is remembered of a kind, also for a profile that remembers no more. */
export function forget(
  runtime: Runtime,
  { name }: Profile,
  kind: string,
): void {
  const file = memoryFile(runtime, { name, remember: true }, kind);
  if (file !== null) orNull(() => runtime.files.remove(file));
}

/** In another network, or with another server, nothing of it is true. */
function circumstances(runtime: Runtime, { server }: Profile) {
  return {
    server: formatEndpoint(server),
    own: runtime.ownAddresses().sort().join(" "),
  };
}
