/**
 * The dialect of fwknop 2.x with a shared passphrase (Rijndael): base64 text,
 * encrypted and then authenticated by an HMAC, over UDP, without a reply.
 *
 * Stricter than fwknopd: one packet has one encoding, the HMAC is always
 * looked at first where there is one, and its key tells who sent the packet.
 * A client without one is known by what its key decrypts, and whoever records
 * such a packet may be able to change it: its mode decides how much.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { UsageError } from "../values/errors.ts";
import type { Dialect, Opened, PacketRefusal, Scene } from "./dialect.ts";
import { type CipherMode, decrypt, encrypt } from "./fwknop_cipher.ts";
import {
  DIGEST_TYPES,
  digestLength,
  type DigestType,
  hmac,
} from "./fwknop_digest.ts";
import {
  decodeMessage,
  DIGITS_SIZE,
  encodeMessage,
  type Message,
} from "./fwknop_message.ts";
import {
  hasForm,
  holdsBlocks,
  joinPacket,
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  readSealed,
  type Split,
  splitPacket,
  writeSealed,
} from "./fwknop_packet.ts";
import {
  type FwknopRequest,
  readRequest,
  writeRequest,
} from "./fwknop_request.ts";
import { sha256 } from "./sha256.ts";

export type { CipherMode } from "./fwknop_cipher.ts";
export type { DigestType } from "./fwknop_digest.ts";
export type { FwknopRequest } from "./fwknop_request.ts";

/** The longest passphrase and the longest HMAC key, in bytes. */
export const MAX_KEY_SIZE = 32;
export const MAX_HMAC_KEY_SIZE = 128;

/** What client and server share. */
export interface FwknopKeys {
  /** The passphrase, raw: 1 to 32 bytes, of text or of decoded base64. */
  readonly key: Uint8Array;
  readonly mode: CipherMode;
  /** Null: whatever decrypts is taken for the client's. */
  readonly hmac: {
    readonly type: DigestType;
    /** Raw, 1 to 128 bytes. No two clients share one. */
    readonly key: Uint8Array;
  } | null;
}

/** A client as the dialect knows it. */
export interface FwknopClient extends FwknopKeys {
  readonly name: string;
}

/** What must be fresh in every packet. */
export interface FwknopRandom {
  /** 8 bytes. */
  readonly salt: Uint8Array;
  /** 16 decimal digits. */
  readonly digits: string;
}

/** How many random bytes {@linkcode fwknopRandom} takes. */
export const RANDOM_SIZE = 16;

/** Makes what is fresh in a packet from 16 random bytes. */
export function fwknopRandom(random: Uint8Array): FwknopRandom {
  const view = new DataView(random.buffer, random.byteOffset, RANDOM_SIZE);
  const number = view.getBigUint64(8) % 10n ** BigInt(DIGITS_SIZE);
  return {
    salt: random.slice(0, 8),
    digits: `${number}`.padStart(DIGITS_SIZE, "0"),
  };
}

/**
 * Makes the server's side. A packet costs one HMAC for each client, until one
 * holds; clients without an HMAC are tried last, by decrypting.
 */
export function fwknopDialect(clients: readonly FwknopClient[]): Dialect {
  const groups = groupClients(clients);
  const proof = clients.some((client) => client.hmac);

  function open(packet: Uint8Array, scene: Scene): Opened {
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

  return { name: "fwknop", recognises: hasForm, open };
}

/**
 * Seals a packet made at `nowMs`, Unix milliseconds: 140 to 1500 bytes of
 * base64. Throws UsageError for a request that fwknop cannot express.
 */
export function sealFwknop(
  keys: FwknopKeys,
  request: FwknopRequest,
  random: FwknopRandom,
  nowMs: number,
): Uint8Array<ArrayBuffer> {
  return sealMessage(
    keys,
    writeRequest(request, random.digits, nowMs),
    random.salt,
  );
}

/** Seals any message. For tests and tools; others use {@linkcode sealFwknop}. */
export function sealMessage(
  keys: FwknopKeys,
  message: Message,
  salt: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const text = encodeMessage(message);
  const covered = writeSealed(salt, encrypt(keys.mode, keys.key, salt, text));
  const mac = keys.hmac
    ? hmac(keys.hmac.type, keys.hmac.key)(covered)
    : new Uint8Array();
  const packet = joinPacket({ covered, mac });
  if (packet.length < MIN_PACKET_SIZE || packet.length > MAX_PACKET_SIZE) {
    throw new UsageError(
      `a packet of fwknop's must have ${MIN_PACKET_SIZE} to ` +
        `${MAX_PACKET_SIZE} bytes, got "${packet.length}"`,
    );
  }
  return packet;
}

/** An enrolled client; what depends on its HMAC key alone is computed once. */
interface Enrolled {
  readonly name: string;
  readonly keys: FwknopKeys;
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
    const length = client.hmac ? digestLength(client.hmac.type) : 0;
    const group = groups.get(length) ?? [];
    groups.set(length, [...group, enrol(client)]);
  }
  return [...groups]
    .map(([macLength, enrolled]) => ({ macLength, enrolled }))
    // Without an HMAC: last, so that it never shadows a client with a proof.
    .sort((a, b) => Number(a.macLength === 0) - Number(b.macLength === 0));
}

function enrol(client: FwknopClient): Enrolled {
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
  const asked = readRequest(decoded.message);
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
};

function refuse(why: PacketRefusal): Opened {
  return Object.freeze({ ok: false, why });
}
