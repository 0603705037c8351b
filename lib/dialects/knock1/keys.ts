/** The keys of knock/1 in server.yaml and profiles.yaml. */

import { formatBase64url, parseBase64 } from "../../values/bytes.ts";
import { object, required, text } from "../../values/schema.ts";
import { KEY_SIZE, publicKeyOf } from "../crypto/curve25519.ts";
import type { ClientPart, KeyWorld } from "../dialect.ts";
import type { Knock1Keys } from "./seal.ts";

/** A client's public key and the psk shared with it, 32 bytes each. */
export interface KnockClientKeys {
  readonly key: Uint8Array;
  readonly psk: Uint8Array;
}

/** Keys of a new client, and what only the client gets. */
interface NewKnockKeys extends KnockClientKeys {
  /** 32 bytes; null when the client made its own pair. */
  readonly privateKey: Uint8Array<ArrayBuffer> | null;
}

/** Draws a psk, and a key pair unless the client's public key is given. */
export function drawKnockKeys(
  world: Pick<KeyWorld, "random">,
  publicKey?: Uint8Array,
): NewKnockKeys {
  const privateKey = publicKey ? null : world.random(KEY_SIZE);
  const key = publicKey ?? publicKeyOf(privateKey!);
  return { key, psk: world.random(KEY_SIZE), privateKey };
}

/** The keys of a profile. */
export type KnockKeys = Omit<Knock1Keys, "ephemeral">;

const SECRET = { secret: true } as const;

const key = text(
  "a key of 43 base64url characters that is not all zero",
  parseKey,
  { secret: true, json: { pattern: "^[A-Za-z0-9_-]{43}$" } },
);

/** `clients.NAME.knock`. */
export const knockClient: ClientPart<KnockClientKeys> = {
  schema: object({ key: required(key), psk: required(key) }, SECRET),
  marks: [{ key: "key", wanted: "a key", of: ({ key }) => key }],
  index: ({ key }) => key,
  form: () => ({ least: 216, most: 216, first: null }),
  show: ({ key }) => [
    ["public key", formatBase64url(key)],
    ["psk", "(hidden)"],
  ],
};

const profileKey = text(
  "a key of 43 characters (base64url)",
  (words) => parseBase64(words, { alphabet: "base64url", size: KEY_SIZE }),
  SECRET,
);

/** `knock:` of a profile. */
export const knockProfile = object({
  server: required(profileKey),
  key: required(profileKey),
  psk: required(profileKey),
}, SECRET);

/** Reads a key of 32 bytes in base64url; null if it is none, or all zero. */
export function parseKey(value: string): Uint8Array | null {
  const bytes = parseBase64(value, { alphabet: "base64url", size: KEY_SIZE });
  return bytes?.some((byte) => byte !== 0) ? bytes : null;
}
