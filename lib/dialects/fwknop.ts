/**
 * The dialect of fwknop 2.x with a shared passphrase (Rijndael) or OpenPGP:
 * base64 text, encrypted and then authenticated by an HMAC, without a reply.
 *
 * Stricter than fwknopd: one packet has one encoding, the HMAC is always
 * looked at first where there is one, and its key tells who sent the packet.
 * A client without one is known by what its key decrypts, and whoever records
 * such a packet may be able to change it: its mode decides how much.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import type { Dialect, Opened, PacketRefusal, Scene } from "./dialect.ts";
import { decrypt } from "./fwknop_cipher.ts";
import { DIGEST_TYPES, digestLength, hmac } from "./fwknop_digest.ts";
import { decodeMessage, type Message } from "./fwknop_message.ts";
import {
  type FwknopGpgKeys,
  hasGpgForm,
  type OpenPgp,
  readGpg,
  splitGpg,
} from "./fwknop_gpg.ts";
import {
  hasForm,
  holdsBlocks,
  readSealed,
  type Split,
  splitPacket,
} from "./fwknop_packet.ts";
import { readRequest } from "./fwknop_request.ts";
import type { FwknopKeys } from "./fwknop_seal.ts";
import { sha256 } from "./sha256.ts";

export type { CipherMode } from "./fwknop_cipher.ts";
export type { DigestType } from "./fwknop_digest.ts";
export {
  type FwknopGpgKeys,
  gpgText,
  type OpenPgp,
  sealGpg,
} from "./fwknop_gpg.ts";
export type { FwknopRequest } from "./fwknop_request.ts";
export {
  type FwknopKeys,
  type FwknopRandom,
  fwknopRandom,
  MAX_HMAC_KEY_SIZE,
  MAX_KEY_SIZE,
  RANDOM_SIZE,
  sealFwknop,
  sealMessage,
} from "./fwknop_seal.ts";

/** A client as the dialect knows it. */
export interface FwknopClient extends FwknopKeys {
  readonly name: string;
}

/** A client that seals by OpenPGP. */
export interface FwknopGpgClient extends FwknopGpgKeys {
  readonly name: string;
}

/**
 * Makes the server's side. A packet costs one HMAC for each client, until one
 * holds; clients without an HMAC are tried last, by decrypting. Packets in
 * OpenPGP are opened later, by `openPgp`.
 */
export function fwknopDialect(
  clients: readonly (FwknopClient | FwknopGpgClient)[],
  openPgp: OpenPgp = () => Promise.resolve("busy"),
): Dialect {
  const passphrases = clients.filter((client) => "key" in client);
  const groups = groupClients(passphrases);
  const proof = passphrases.some((client) => client.hmac);
  const signers = clients.filter((client) => "gpg" in client).map(enrol);

  function open(packet: Uint8Array, scene: Scene): Opened {
    if (hasGpgForm(packet)) return openGpg(packet, scene, signers, openPgp);
    if (!hasForm(packet)) return REFUSALS.form;
    let refusal = proof && mayBeOurs(packet) ? REFUSALS.mac : REFUSALS.form;
    let asked = false;
    for (const { macLength, enrolled } of groups) {
      const split = splitPacket(packet, macLength);
      if (!split) continue;
      // Every client may cost an HMAC, or a decryption.
      if (!asked && !scene.mayCost()) return REFUSALS.rate;
      asked = true;
      for (const client of enrolled) {
        if (client.proves(split)) {
          const opened = openSealed(client, split.covered, scene);
          if (opened.ok || client.mac || opened.why !== "cipher") return opened;
        }
        refusal = client.mac || refusal === REFUSALS.mac
          ? REFUSALS.mac
          : REFUSALS.cipher;
      }
    }
    return refusal;
  }

  const recognises = (packet: Uint8Array) =>
    hasForm(packet) || (signers.length > 0 && hasGpgForm(packet));
  return { name: "fwknop", recognises, open };
}

/** An enrolled client; what depends on its HMAC key alone is computed once. */
interface Enrolled<Keys = FwknopKeys> {
  readonly name: string;
  readonly keys: Keys;
  readonly mac: ((covered: Uint8Array) => Uint8Array) | null;
  readonly proves: (split: Split) => boolean;
}

/** Clients whose packets end in an HMAC of the same length. */
interface Group {
  readonly macLength: number;
  readonly enrolled: readonly Enrolled[];
}

/** Whether its length is one of fwknop's, with whatever HMAC its client is set to. */
function mayBeOurs(packet: Uint8Array): boolean {
  return MAC_LENGTHS.some((length) => holdsBlocks(packet.length, length));
}

const MAC_LENGTHS = [0, ...new Set(DIGEST_TYPES.map(digestLength))];

function groupClients(clients: readonly FwknopClient[]): Group[] {
  const groups = new Map<number, Enrolled[]>();
  for (const client of clients) {
    const length = macLengthOf(client);
    const group = groups.get(length) ?? [];
    groups.set(length, [...group, enrol(client)]);
  }
  return [...groups]
    .map(([macLength, enrolled]) => ({ macLength, enrolled }))
    // Without an HMAC: last, so that it never shadows a client with a proof.
    .sort((a, b) => Number(a.macLength === 0) - Number(b.macLength === 0));
}

function enrol<Keys extends FwknopClient | FwknopGpgClient>(
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

function openSealed(
  { name, keys, mac }: Enrolled,
  covered: Uint8Array,
  scene: Scene,
): Opened {
  // Who sent it is proved by the HMAC, or only by what decrypts.
  const client = mac ? { client: name } : {};
  const sealed = readSealed(covered);
  if (!sealed) return { ok: false, why: "form", ...client };
  const { salt, ciphertext, bytes } = sealed;
  const proved = mac && sha256(bytes);
  // A copy of an accepted packet costs this look-up and no more.
  if (proved && scene.seen(proved)) return REFUSALS.replay;

  const text = decrypt(keys.mode, keys.key, salt, ciphertext);
  const decoded = decodeMessage(text);
  if (!decoded.ok) return { ok: false, why: decoded.why, ...client };
  // Without an HMAC the same text may come in blocks that differ: in padding.
  const identity = proved ?? sha256(text);
  if (!proved && scene.seen(identity)) return REFUSALS.replay;
  return readOpened(name, decoded.message, identity, client);
}

/** Opens a packet in OpenPGP as far as that goes without gpg. */
function openGpg(
  packet: Uint8Array,
  scene: Scene,
  signers: readonly Enrolled<FwknopGpgClient>[],
  openPgp: OpenPgp,
): Opened {
  if (signers.length === 0) return REFUSALS.form;
  if (!scene.mayCost()) return REFUSALS.rate;
  const sealed = signers.flatMap((enrolled) => {
    const split = splitGpg(packet, macLengthOf(enrolled.keys));
    const message = split && enrolled.proves(split) && readGpg(split.covered);
    return message ? [{ enrolled, message }] : [];
  });
  // Whoever has an HMAC proved it; all others are told apart by gpg.
  const proved = sealed.find(({ enrolled }) => enrolled.mac);
  const candidates = proved ? [proved] : sealed;
  const [first] = candidates;
  if (!first) return REFUSALS.mac;
  const identity = proved && sha256(first.message);
  if (identity && scene.seen(identity)) return REFUSALS.replay;
  const later = async (): Promise<Opened> => {
    // One run of gpg for each keyring.
    const runs = new Map<string, ReturnType<OpenPgp>>();
    let refusal: Opened = REFUSALS.cipher;
    for (const { enrolled: { name, keys: { gpg } }, message } of candidates) {
      const run = runs.get(gpg.home) ?? openPgp(gpg.home, message);
      runs.set(gpg.home, run);
      const opened = await run;
      if (opened === "busy") return REFUSALS.busy;
      if (!opened) continue;
      if (!gpg.signers.includes(opened.signer)) {
        refusal = REFUSALS.signature;
        continue;
      }
      const client = { client: name };
      const decoded = decodeMessage(opened.text);
      if (!decoded.ok) return { ok: false, why: decoded.why, ...client };
      // The same text may be packed in other ways: without an HMAC it counts.
      const mark = identity ?? sha256(opened.text);
      return readOpened(name, decoded.message, mark, client);
    }
    return refusal;
  };
  return { ok: false, why: "busy", ...proved && clientOf(proved), later };
}

function clientOf({ enrolled }: { enrolled: { name: string } }) {
  return { client: enrolled.name };
}

function macLengthOf({ hmac }: Pick<FwknopKeys, "hmac">): number {
  return hmac ? digestLength(hmac.type) : 0;
}

function readOpened(
  name: string,
  message: Message,
  identity: Uint8Array,
  client: { readonly client?: string },
): Opened {
  const asked = readRequest(message);
  if (!asked) return { ok: false, why: "payload", ...client };
  const { forward, ...rest } = asked;
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

const REFUSALS = {
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
