/** New keys for a client, and where it finds this server. */

import type { Listen } from "../../config/config.ts";
import { KEY_SIZE } from "../../dialects/crypto/curve25519.ts";
import type { NewClient } from "../../config/files/write.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import type { Runtime } from "../../runtime/runtime.ts";

/** A client's entry in the configuration, and what only the client gets. */
export interface NewKeys {
  readonly entry: NewClient;
  /** 32 bytes; null when the client made its own pair. */
  readonly privateKey: Uint8Array<ArrayBuffer> | null;
}

/** Draws a psk, and a key pair unless the client's public key is given. */
export function enrol(
  runtime: Runtime,
  name: string,
  open: NewClient["open"],
  options: {
    publicKey?: Uint8Array | undefined;
    forSeconds?: number;
    code?: string;
  } = {},
): NewKeys {
  const privateKey = options.publicKey ? null : runtime.random(KEY_SIZE);
  const key = options.publicKey ?? publicKeyOf(privateKey!);
  const psk = runtime.random(KEY_SIZE);
  const { forSeconds = null, code } = options;
  const entry = { name, key, psk, open, forSeconds };
  return { entry: code === undefined ? entry : { ...entry, code }, privateKey };
}

/** The best guess at the host by which clients reach this machine. */
export function ownHost(runtime: Runtime, listen: readonly Listen[]): string {
  const bound = listen.find(({ host }) => host !== "::" && host !== "0.0.0.0");
  if (bound && listen.length === 1) return bound.host;
  // A link-local address means nothing on another machine.
  const address = runtime.ownAddresses().find((own) =>
    !/^(fe[89ab][0-9a-f]:|169\.254\.)/.test(own)
  );
  return address ?? runtime.hostName();
}
