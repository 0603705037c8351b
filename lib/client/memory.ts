/**
 * Memory of the client from one run to the next: small files of the user
 * alone. It works without them: whatever goes wrong here is no mistake.
 * @module
 */

import { clientFile, folderOf } from "../config/files/places.ts";
import { makeOwnFolder, replaceOwn } from "../config/files/rights.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatEndpoint } from "../values/address.ts";
import { OperatorError, orNull, SystemError } from "../values/errors.ts";
import type { Profile } from "./profile/profile.ts";

/** Permission bits that let others than the owner use a file. */
const OTHERS = 0o077;
/** Far more than any of these files has. */
const MAX_SIZE = 4096;

/** Contents of a memory file, as JSON. */
type Memory = Readonly<Record<string, unknown>>;

/** The name of a profile's file of a kind, such as "address" or "tcp-22". */
export function memoryName({ name }: Profile, kind: string): string {
  return `${encodeURIComponent(name)}.${kind}.json`;
}

/**
 * Reads what was remembered under a name; null when there is nothing, others could
 * have written it, or it was of another server or in another network.
 */
export function recall(
  runtime: Runtime,
  profile: Profile,
  kind: string,
): Memory | null {
  const file = clientFile(runtime, memoryName(profile, kind));
  if (file === null || !profile.remember) return null;
  try {
    const info = runtime.files.stat(file);
    if (!info?.isFile || info.size > MAX_SIZE) return null;
    if (info.mode !== null && (info.mode & OTHERS) !== 0) return null;
    if (info.owner !== runtime.userId()) return null;
    const found = JSON.parse(runtime.files.readText(file)) as unknown;
    if (typeof found !== "object" || found === null) return null;
    const memory = found as Memory;
    const here = circumstances(runtime, profile);
    const same = memory.server === here.server && memory.own === here.own;
    return same ? memory : null;
  } catch (error) {
    if (error instanceof SystemError || error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}

/** Remembers this under a name, in place of what was; whether that worked. */
export function remember(
  runtime: Runtime,
  profile: Profile,
  kind: string,
  memory: Memory,
): boolean {
  const file = clientFile(runtime, memoryName(profile, kind));
  if (file === null || !profile.remember) return false;
  const content = { ...circumstances(runtime, profile), ...memory };
  try {
    makeOwnFolder(runtime, folderOf(runtime, file));
    replaceOwn(runtime, file, JSON.stringify(content) + "\n");
    return true;
  } catch (error) {
    if (error instanceof SystemError || error instanceof OperatorError) {
      return false;
    }
    throw error;
  }
}

/** Forgets what is under a name. */
export function forget(runtime: Runtime, profile: Profile, kind: string): void {
  const file = clientFile(runtime, memoryName(profile, kind));
  if (file !== null) orNull(() => runtime.files.remove(file));
}

/** In another network, or with another server, nothing of it is true. */
function circumstances(runtime: Runtime, { server }: Profile) {
  return {
    server: formatEndpoint(server),
    own: runtime.ownAddresses().sort().join(" "),
  };
}
