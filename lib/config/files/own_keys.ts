/** The server's own keys in other dialects, made when they are first needed. */

import type { DialectName } from "../../dialects/dialect.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { formatBase64 } from "../../values/base64.ts";
import { FailureError } from "../../values/errors.ts";
import { type Config, dialectsOf } from "../config.ts";
import { pathBeside } from "./places.ts";
import { createOwn } from "./rights.ts";

/** Bytes of an X25519 private key. */
const OPENME_KEY_SIZE = 32;
/** More would make each packet several times as costly. */
const RSA_BITS = 2048;

/** Dialects with a key of the server's own, besides knock/1. */
type KeyedDialect = "openme" | "openspa";

/** What a new key's file holds. */
const NEW_KEYS: Readonly<Record<KeyedDialect, (runtime: Runtime) => string>> = {
  openme: (runtime) => `${formatBase64(runtime.random(OPENME_KEY_SIZE))}\n`,
  openspa: (runtime) => runtime.rsaPrivateKey(RSA_BITS),
};

/**
 * Makes the keys that are missing for what a configuration's clients use, and
 * those of `also`, as new files. The paths of what it made: then the
 * configuration has to be read again. Throws FailureError if it cannot.
 */
export function makeOwnKeys(
  runtime: Runtime,
  config: Config,
  also: readonly DialectName[] = [],
): string[] {
  const used = new Set([...config.clients.flatMap(dialectsOf), ...also]);
  return (Object.keys(NEW_KEYS) as KeyedDialect[])
    .filter((dialect) => used.has(dialect) && config[dialect].key === null)
    .map((dialect) => {
      const path = pathBeside(runtime, config.file, config[dialect].file);
      try {
        createOwn(runtime, path, NEW_KEYS[dialect](runtime));
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        throw new FailureError(
          `cannot write ${path}, the server's key for ${dialect}: ` +
            error.message,
          `as root: knock client add NAME --dialect ${dialect}, which makes it`,
        );
      }
      return path;
    });
}
