/**
 * The dialect of openme, protocol version 1: one datagram of 165 bytes, and
 * never a reply.
 *
 *     0    1   version
 *     1    32  ephemeral X25519 public key
 *     33   12  nonce
 *     45   40  sealed: time 8, random 16, address 16
 *     85   16  tag
 *     101  64  Ed25519 signature of all before it
 *
 * A packet does not name its signer, and no key can be computed from its
 * signature (Ed25519 hashes the key with the message), so every enrolled
 * client's key is tried: the cost grows with their number. One core of a small machine, Deno
 * (Bun), by bench/dialects.ts: junk 65 us (35 us); junk that is sealed for
 * this server, by who knows its public key, 30 us (45 us) more for each
 * client; a copy of what was accepted costs as much as junk.
 * @module
 */

import { hkdfSync, type KeyObject } from "node:crypto";
import { addressFromBytes, addressToBytes } from "../../values/address.ts";
import { concat } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { NONCE_SIZE, openChaCha, sealChaCha } from "../crypto/aead.ts";
import {
  agree,
  importPublicKey,
  importSigningKey,
  importVerifyingKey,
  KEY_SIZE,
  keyPairOf,
  SIGNATURE_SIZE,
  signEd25519,
  verifyEd25519,
  verifyingKeyOf,
} from "../crypto/curve25519.ts";
import {
  checkOnlyOpens,
  type Dialect,
  type Opened,
  refuse,
  type Request,
  type Scene,
  type Sealer,
} from "../dialect.ts";
import type { OpenmeClientKeys, OpenmeProfileKeys } from "./keys.ts";
import { searchClient, type SharedKeys } from "../keys.ts";

/** Bytes of every packet. */
export const PACKET_SIZE = 165;
/** The UDP port that openme's clients knock at. */
export const OPENME_PORT = 54154;
/** Bytes that make a knock unlike any other, in its sealed part. */
const RANDOM_SIZE = 16;

const VERSION = 1;
const KDF_INFO = "openme-v1-chacha20poly1305";
const PLAINTEXT_SIZE = 40;

// Offsets in a packet.
const EPHEMERAL_AT = 1;
const NONCE_AT = EPHEMERAL_AT + KEY_SIZE;
const SEALED_AT = NONCE_AT + NONCE_SIZE;
const SIGNATURE_AT = PACKET_SIZE - SIGNATURE_SIZE;

// Offsets in the sealed part.
const RANDOM_AT = 8;
const ADDRESS_AT = RANDOM_AT + RANDOM_SIZE;

/** Signatures of shared clients that are tried at once: some 3 ms of them. */
const MOST_TRIED = 64;

const NS_PER_MS = 1_000_000n;
const NOTHING = new Uint8Array(0);

/** A client as the dialect knows it. No two clients share a key. */
export interface OpenmeClient extends OpenmeClientKeys {
  readonly name: string;
}

/** Keys of a client, for sealing. */
export interface OpenmeKeys extends OpenmeProfileKeys {
  /** Fresh random bytes for every packet: 32 … */
  readonly ephemeral: Uint8Array;
  /** … 12 … */
  readonly nonce: Uint8Array;
  /** … and 16. */
  readonly random: Uint8Array;
}

/**
 * Makes the server's side: its X25519 private key, 32 bytes, its clients, and
 * those that are not in memory.
 */
export function openmeDialect(
  serverPrivate: Uint8Array,
  clients: readonly OpenmeClient[],
  shared: SharedKeys | null = null,
): Dialect {
  const { secret } = keyPairOf(serverPrivate);
  const signers = clients.flatMap(({ name, key }) => {
    const imported = importVerifyingKey(key);
    return imported
      ? [{ name, bytes: new Uint8Array(key), key: imported }]
      : [];
  });

  function open(packet: Uint8Array, { seen, mayCost, source }: Scene): Opened {
    if (packet.length !== PACKET_SIZE) return refuse("length");
    if (packet[0] !== VERSION) return refuse("version");
    if (!mayCost()) return refuse("rate");
    const plaintext = openSealed(secret, packet);
    if (!plaintext) return refuse("cipher");

    const random = plaintext.subarray(RANDOM_AT, ADDRESS_AT);
    const marks = signers.map(({ bytes }) => concat(random, bytes));
    // A copy of an accepted packet costs look-ups, not signatures.
    if (marks.some(seen)) return refuse("replay");
    const signed = packet.subarray(0, SIGNATURE_AT);
    const signature = packet.subarray(SIGNATURE_AT);
    const index = signers.findIndex(({ key }) =>
      verifyEd25519(key, signed, signature)
    );
    const by = (client: string, identity: Uint8Array): Opened => ({
      ok: true,
      request: {
        dialect: "openme",
        client,
        action: "open",
        ports: [],
        command: null,
        seconds: 0,
        ...readPlaintext(plaintext),
        code: null,
        identity,
        wantsReply: false,
      },
      seal: () => NOTHING,
    });
    if (index >= 0) return by(signers[index]!.name, marks[index]!);
    if (!shared) return refuse("unknown client");
    return searchClient({
      ...{ dialect: "openme", shared, source, why: "unknown client" },
      ...{ size: KEY_SIZE, start: NOTHING, most: MOST_TRIED },
      proves: (bytes) => {
        const key = importVerifyingKey(bytes);
        return key !== null && verifyEd25519(key, signed, signature);
      },
      open({ name, openme }) {
        const mark = concat(random, openme!.key);
        return seen(mark) ? refuse("replay") : by(name, mark);
      },
    });
  }

  return {
    name: "openme",
    recognises: (packet) => packet.length === PACKET_SIZE,
    open,
  };
}

/**
 * Seals a knock, 165 bytes, made at `timeNs`, Unix nanoseconds; the address
 * is where to open for, null = where the packet comes from. Throws UsageError
 * for an address that is none, or a server key that is none.
 */
export function sealOpenme(
  keys: OpenmeKeys,
  address: string | null,
  timeNs: bigint,
): Uint8Array<ArrayBuffer> {
  const plaintext = new Uint8Array(PLAINTEXT_SIZE);
  new DataView(plaintext.buffer).setBigInt64(0, timeNs);
  plaintext.set(keys.random, RANDOM_AT);
  if (address !== null) plaintext.set(checkAddress(address), ADDRESS_AT);

  const ephemeral = keyPairOf(keys.ephemeral);
  const shared = agree(ephemeral.secret, importPublicKey(keys.server));
  if (!shared) throw new UsageError("the server's public key is not usable");
  const signed = concat(
    Uint8Array.of(VERSION),
    ephemeral.publicKey,
    keys.nonce,
    sealChaCha(deriveKey(shared), keys.nonce, plaintext),
  );
  return concat(signed, signEd25519(importSigningKey(keys.key), signed));
}

/** Seals openme's knocks with a profile's keys. */
export function openmeSealer(profile: OpenmeProfileKeys): Sealer {
  return {
    dialect: "openme",
    answers: false,
    seal(ask, { nowMs, random }) {
      checkOnlyOpens("openme", ask);
      const keys = {
        ...profile,
        ephemeral: random(KEY_SIZE),
        nonce: random(NONCE_SIZE),
        random: random(RANDOM_SIZE),
      };
      const timeNs = BigInt(Math.floor(nowMs)) * NS_PER_MS;
      return {
        packet: sealOpenme(keys, ask.address, timeNs),
        openReply: () => null,
      };
    },
  };
}

/** Decrypts a packet for this server without checking its signature; null if it does not decrypt. */
export function peekOpenme(serverPrivate: Uint8Array, packet: Uint8Array) {
  if (packet.length !== PACKET_SIZE) return null;
  const plaintext = openSealed(keyPairOf(serverPrivate).secret, packet);
  return plaintext && readPlaintext(plaintext);
}

/** True if a packet of 165 bytes was signed by the key of this seed, 32 bytes. */
export function isSignedBy(seed: Uint8Array, packet: Uint8Array): boolean {
  const key = importVerifyingKey(verifyingKeyOf(seed));
  const signed = packet.subarray(0, SIGNATURE_AT);
  return key !== null &&
    verifyEd25519(key, signed, packet.subarray(SIGNATURE_AT));
}

function openSealed(
  secret: KeyObject,
  packet: Uint8Array,
): Uint8Array | null {
  const ephemeral = packet.subarray(EPHEMERAL_AT, NONCE_AT);
  const shared = agree(secret, importPublicKey(ephemeral));
  return shared && openChaCha(
    deriveKey(shared),
    packet.subarray(NONCE_AT, SEALED_AT),
    packet.subarray(SEALED_AT, SIGNATURE_AT),
  );
}

function deriveKey(shared: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", shared, NOTHING, KDF_INFO, 32));
}

function readPlaintext(
  plaintext: Uint8Array,
): Pick<Request, "timestampMs" | "address"> {
  const { buffer, byteOffset } = plaintext;
  const ns = new DataView(buffer, byteOffset).getBigInt64(0);
  return {
    timestampMs: Number(ns / NS_PER_MS),
    address: readAddress(plaintext.subarray(ADDRESS_AT)),
  };
}

function readAddress(bytes: Uint8Array): string | null {
  const address = addressFromBytes(bytes);
  return UNSPECIFIED.includes(address) ? null : address;
}

function checkAddress(address: string): Uint8Array {
  const bytes = addressToBytes(address);
  if (bytes && readAddress(bytes) !== null) return bytes;
  throw new UsageError(`the address must be one of a host, got "${address}"`);
}

/** Both mean: the address that the packet comes from. */
const UNSPECIFIED = ["::", "0.0.0.0"];
