/** The keys of openme in server.yaml and profiles.yaml, in base64 with padding. */

import { parseBase64 } from "../../values/bytes.ts";
import {
  object,
  optional,
  required,
  text,
  words,
} from "../../values/schema.ts";
import {
  KEY_SIZE,
  SIGNING_KEY_SIZE,
  verifyingKeyOf,
} from "../crypto/curve25519.ts";
import type { ClientPart, OwnPart } from "../dialect.ts";

/** A client's Ed25519 public key, 32 bytes. */
export interface OpenmeClientKeys {
  readonly key: Uint8Array;
}

/** The keys of a profile, 32 bytes each. */
export interface OpenmeProfileKeys {
  /** The server's X25519 public key. */
  readonly server: Uint8Array;
  /** The seed of the client's own Ed25519 key. */
  readonly key: Uint8Array;
}

const SECRET = { secret: true } as const;

// A client's private key, put there by mistake, is not shown.
const clientKey = text(
  "an openme client's public key, 32 bytes in base64",
  parseOpenmeKey,
  { secret: true, json: { pattern: "^[A-Za-z0-9+/]{43}=$" } },
);

/** `clients.NAME.openme`. */
export const openmeClient: ClientPart<OpenmeClientKeys> = {
  schema: object({ key: required(clientKey) }, SECRET),
  marks: [{ key: "key", wanted: "a key", of: ({ key }) => key }],
  index: ({ key }) => key,
  form: () => ({ least: 165, most: 165, first: [1] }),
  show: ({ key }) => [["openme key", key.toBase64()]],
};

/** `openme` at the top. */
export const openmeOwn: OwnPart<Uint8Array> = {
  schema: object({ key: optional(words, "openme.key") }),
  kind: {
    parse: parseOpenmeKey,
    wanted: "a private key of 32 bytes in base64",
    secret: true,
  },
  make: (world) => `${world.random(KEY_SIZE).toBase64()}\n`,
};

/** `openme:` of a profile. */
export const openmeProfile = object({
  server: required(
    text("a key of 32 bytes in base64", parseOpenmeKey, SECRET),
  ),
  key: required(
    text("a private key of 32 or 64 bytes in base64", parseOpenmeSeed, SECRET),
  ),
}, SECRET);

/** Reads a key of 32 bytes that is not all zero; null if it is none. */
export function parseOpenmeKey(text: string): Uint8Array | null {
  const bytes = parseBase64(text, { size: SIGNING_KEY_SIZE });
  return bytes?.some((byte) => byte !== 0) ? bytes : null;
}

/**
 * Reads a client's private key and returns its seed, 32 bytes: the key is the
 * seed alone, or the seed and the public key that belongs to it. Null if it
 * is neither.
 */
export function parseOpenmeSeed(text: string): Uint8Array | null {
  const bytes = parseBase64(text);
  if (bytes?.length === SIGNING_KEY_SIZE) return bytes;
  if (bytes?.length !== 2 * SIGNING_KEY_SIZE) return null;
  const seed = bytes.slice(0, SIGNING_KEY_SIZE);
  return formatOpenmeSeed(seed) === text ? seed : null;
}

/** Writes a client's private key as every client of openme takes it, 64 bytes. */
export function formatOpenmeSeed(seed: Uint8Array): string {
  const both = new Uint8Array(2 * SIGNING_KEY_SIZE);
  both.set(seed);
  both.set(verifyingKeyOf(seed), SIGNING_KEY_SIZE);
  return both.toBase64();
}
