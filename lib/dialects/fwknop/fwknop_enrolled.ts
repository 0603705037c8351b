/** fwknop's clients as the server knows them, and what their packets become. */

import { timingSafeEqual } from "node:crypto";
import type { Opened, PacketRefusal } from "../dialect.ts";
import { digestLength, hmac } from "../crypto/hash.ts";
import type { FwknopGpgKeys } from "./gpg.ts";
import type { Message } from "./message.ts";
import type { Split } from "./packet.ts";
import { readRequest } from "./request.ts";
import type { FwknopKeys } from "./fwknop_seal.ts";

/** A client as the dialect knows it. */
export interface FwknopClient extends FwknopKeys, Sender {
  readonly name: string;
}

/** A client that seals by OpenPGP. */
export interface FwknopGpgClient extends FwknopGpgKeys, Sender {
  readonly name: string;
}

/** What is wanted of a packet besides its proof. */
export interface Sender {
  /** The user that packets must name; null or absent: any. */
  readonly requireUsername?: string | null;
}

/** An enrolled client; what depends on its HMAC key alone is computed once. */
export interface Enrolled<Keys = FwknopKeys & Sender> {
  readonly name: string;
  readonly keys: Keys;
  readonly mac: ((covered: Uint8Array) => Uint8Array) | null;
  readonly proves: (split: Split) => boolean;
}

/** Computes what depends on a client alone. */
export function enrol<Keys extends FwknopClient | FwknopGpgClient>(
  client: Keys,
): Enrolled<Keys> {
  const mac = client.hmac && hmac(client.hmac.type, client.hmac.key);
  return {
    name: client.name,
    keys: client,
    mac,
    proves: mac
      ? ({ covered, mac: sent }) => timingSafeEqual(mac(covered), sent)
      : () => true,
  };
}

/** How many characters a client's HMAC takes in base64; 0 = it has none. */
export function macLengthOf({ hmac }: Pick<FwknopKeys, "hmac">): number {
  return hmac ? digestLength(hmac.type) : 0;
}

/** What an opened message asks for, with what marks its replay. */
export function readOpened(
  name: string,
  { requireUsername }: Sender,
  message: Message,
  identity: Uint8Array,
  client: { readonly client?: string },
): Opened {
  const asked = readRequest(message);
  if (!asked) return { ok: false, why: "payload", ...client };
  const { forward, ...rest } = asked;
  if (typeof requireUsername === "string" && asked.user !== requireUsername) {
    return { ok: false, why: "unknown client", ...client };
  }
  return {
    ok: true,
    request: {
      dialect: "fwknop",
      client: name,
      ...rest,
      ...forward && { forward },
      code: null,
      identity,
      wantsReply: false,
    },
    seal: () => new Uint8Array(),
  };
}

/** Refusals that say no more than their name. */
export const REFUSALS = {
  form: refuse("form"),
  mac: refuse("mac"),
  rate: refuse("rate"),
  replay: refuse("replay"),
  cipher: refuse("cipher"),
  signature: refuse("signature"),
  busy: refuse("busy"),
};

function refuse(why: PacketRefusal): Opened {
  return Object.freeze({ ok: false, why });
}
