/**
 * The handshake Noise_IKpsk1_25519_AESGCM_SHA256 (the Noise protocol
 * framework, revision 34), both sides:
 *
 *     <- s
 *     ...
 *     -> e, es, s, ss, psk
 *     <- e, ee, se
 *
 * Pure and synchronous: ephemeral keys are arguments. What does not prove
 * itself is a returned null or refusal, never a throw.
 * @module
 */

import { concat } from "../../values/bytes.ts";
import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import {
  agree,
  importPublicKey,
  KEY_SIZE,
  type KeyPair,
} from "../crypto/curve25519.ts";
import { sha256 } from "../crypto/hash.ts";

/** Bytes that {@linkcode encrypt} adds to a text. */
const NOISE_TAG_SIZE = 16;
/** Bytes that a handshake adds to a payload in message 1: e, s and two tags. */
const MESSAGE_1_OVERHEAD = 96;
/** Bytes that a handshake adds to a payload in message 2: e and a tag. */
const MESSAGE_2_OVERHEAD = 48;

/** Exactly as long as a hash, so it is the first h and ck as it stands. */
const PROTOCOL_NAME = Buffer.from("Noise_IKpsk1_25519_AESGCM_SHA256");
const SEALED_STATIC_SIZE = KEY_SIZE + NOISE_TAG_SIZE;
const FORGED = { ok: false, why: "forged", initiator: null } as const;

/** The chaining key and the handshake hash, 32 bytes each; never changed. */
export interface HandshakeState {
  readonly ck: Uint8Array;
  readonly h: Uint8Array;
}

interface InitiatorKeys {
  readonly own: KeyPair;
  /** Fresh for every handshake. */
  readonly ephemeral: KeyPair;
  readonly responder: KeyObject;
  /** 32 bytes. */
  readonly psk: Uint8Array;
}

/** Keys of an initiator, on the responder. */
export interface Initiator {
  readonly publicKey: KeyObject;
  /** 32 bytes. */
  readonly psk: Uint8Array;
  /** The shared secret of both static keys; null if it is all zero. */
  staticSecret(): Uint8Array | null;
}

/** A message, and what its writer goes on with. */
interface WrittenMessage {
  readonly message: Uint8Array<ArrayBuffer>;
  readonly chain: HandshakeState;
}

type ReadMessage1<T extends Initiator> =
  | {
    readonly ok: true;
    readonly payload: Uint8Array;
    readonly initiator: T;
    readonly ephemeral: KeyObject;
    readonly chain: HandshakeState;
  }
  | { readonly ok: false; readonly why: "unknown" }
  | {
    readonly ok: false;
    readonly why: "forged";
    /** Where the static key was proved and known before it went wrong. */
    readonly initiator: T | null;
  };

/** Starts a handshake: its result is the same on both sides, and may be kept. */
export function beginHandshake(
  prologue: Uint8Array,
  responderPublic: Uint8Array,
): HandshakeState {
  const h = sha256(sha256(PROTOCOL_NAME, prologue), responderPublic);
  return { ck: PROTOCOL_NAME, h };
}

/** Writes message 1: payload + 96 bytes. Null if a shared secret is all zero. */
export function writeMessage1(
  begun: HandshakeState,
  keys: InitiatorKeys,
  payload: Uint8Array,
): WrittenMessage | null {
  const { own, ephemeral, responder } = keys;
  const es = agree(ephemeral.secret, responder);
  const ss = agree(own.secret, responder);
  if (!es || !ss) return null;

  let h = sha256(begun.h, ephemeral.publicKey);
  let [ck] = derive(begun.ck, ephemeral.publicKey, 1);
  let k: Uint8Array, mixed: Uint8Array;
  [ck, k] = derive(ck, es, 2);
  const sealedStatic = encrypt(k, 0, h, own.publicKey);
  h = sha256(h, sealedStatic);
  [ck] = derive(ck, ss, 1);
  [ck, mixed, k] = derive(ck, keys.psk, 3);
  h = sha256(h, mixed);
  const sealed = encrypt(k, 0, h, payload);
  h = sha256(h, sealed);
  return {
    message: concat(ephemeral.publicKey, sealedStatic, sealed),
    chain: { ck, h },
  };
}

/**
 * Reads message 1. `find` looks up the initiator by its static public key, 32
 * bytes; an unknown one ends here, before any psk is used.
 */
export function readMessage1<T extends Initiator>(
  begun: HandshakeState,
  own: KeyPair,
  message: Uint8Array,
  find: (publicKey: Uint8Array) => T | null,
): ReadMessage1<T> {
  if (message.length < MESSAGE_1_OVERHEAD) return FORGED;
  const e = message.subarray(0, KEY_SIZE);
  const sealedStatic = message.subarray(
    KEY_SIZE,
    KEY_SIZE + SEALED_STATIC_SIZE,
  );
  const sealed = message.subarray(KEY_SIZE + SEALED_STATIC_SIZE);

  const ephemeral = importPublicKey(e);
  const es = agree(own.secret, ephemeral);
  if (!es) return FORGED;
  let h = sha256(begun.h, e);
  let [ck] = derive(begun.ck, e, 1);
  let k: Uint8Array, mixed: Uint8Array;
  [ck, k] = derive(ck, es, 2);
  const s = decrypt(k, 0, h, sealedStatic);
  if (!s) return FORGED;
  h = sha256(h, sealedStatic);

  const initiator = find(s);
  if (!initiator) return { ok: false, why: "unknown" };
  const ss = initiator.staticSecret();
  if (!ss) return { ok: false, why: "forged", initiator };
  [ck] = derive(ck, ss, 1);
  [ck, mixed, k] = derive(ck, initiator.psk, 3);
  h = sha256(h, mixed);
  const payload = decrypt(k, 0, h, sealed);
  if (!payload) return { ok: false, why: "forged", initiator };
  h = sha256(h, sealed);
  return { ok: true, payload, initiator, ephemeral, chain: { ck, h } };
}

/**
 * Writes message 2, the responder's: payload + 48 bytes. Null if a shared
 * secret is all zero, which message 1 has ruled out.
 */
export function writeMessage2(
  chain: HandshakeState,
  ephemeral: KeyPair,
  theirs: { readonly ephemeral: KeyObject; readonly static: KeyObject },
  payload: Uint8Array,
): WrittenMessage | null {
  const ee = agree(ephemeral.secret, theirs.ephemeral);
  const se = agree(ephemeral.secret, theirs.static);
  if (!ee || !se) return null;
  const { ck, k, h } = mixMessage2(chain, ephemeral.publicKey, ee, se);
  const sealed = encrypt(k, 0, h, payload);
  return {
    message: concat(ephemeral.publicKey, sealed),
    chain: { ck, h: sha256(h, sealed) },
  };
}

/** Reads message 2, on the initiator's side. Null if it does not prove itself. */
export function readMessage2(
  chain: HandshakeState,
  ours: { readonly ephemeral: KeyPair; readonly static: KeyPair },
  message: Uint8Array,
): { readonly payload: Uint8Array; readonly chain: HandshakeState } | null {
  if (message.length < MESSAGE_2_OVERHEAD) return null;
  const e = message.subarray(0, KEY_SIZE);
  const sealed = message.subarray(KEY_SIZE);
  const theirs = importPublicKey(e);
  const ee = agree(ours.ephemeral.secret, theirs);
  const se = agree(ours.static.secret, theirs);
  if (!ee || !se) return null;
  const { ck, k, h } = mixMessage2(chain, e, ee, se);
  const payload = decrypt(k, 0, h, sealed);
  return payload && { payload, chain: { ck, h: sha256(h, sealed) } };
}

function mixMessage2(
  chain: HandshakeState,
  e: Uint8Array,
  ee: Uint8Array,
  se: Uint8Array,
): HandshakeState & { readonly k: Uint8Array } {
  const h = sha256(chain.h, e);
  const [ckE] = derive(chain.ck, e, 1);
  const [ckEe] = derive(ckE, ee, 1);
  const [ck, k] = derive(ckEe, se, 2);
  return { ck, k, h };
}

export const PROLOGUE = new TextEncoder().encode("knock/1");

/** Starts the handshake that a packet with this tag goes on with. */
export function begin(
  tag: Uint8Array,
  serverPublic: Uint8Array,
): HandshakeState {
  return beginHandshake(concat(PROLOGUE, tag), serverPublic);
}

// The symmetric half of Noise (revision 34) with AESGCM and SHA256: sealing,
// and the keys to seal with. Pure. What does not prove itself is a returned
// null, never a throw.

/** Bytes of a hash, and of each key that {@linkcode derive} makes. */
const HASH_SIZE = 32;
const NOTHING = new Uint8Array(0);

/** AES-256-GCM as Noise has it (§12.4); returns the ciphertext and its 16-byte tag. */
export function encrypt(
  key: Uint8Array,
  counter: number,
  associated: Uint8Array,
  text: Uint8Array,
): Uint8Array {
  const aead = createCipheriv("aes-256-gcm", key, nonceOf(counter));
  aead.setAAD(associated);
  const sealed = aead.update(text);
  aead.final();
  return concat(sealed, aead.getAuthTag());
}

/** Opens what {@linkcode encrypt} sealed; null if any bit of it is not so. */
export function decrypt(
  key: Uint8Array,
  counter: number,
  associated: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | null {
  const end = sealed.length - NOISE_TAG_SIZE;
  if (end < 0) return null;
  const aead = createDecipheriv("aes-256-gcm", key, nonceOf(counter));
  aead.setAAD(associated);
  aead.setAuthTag(sealed.subarray(end));
  try {
    const text = aead.update(sealed.subarray(0, end));
    aead.final();
    return text;
  } catch {
    return null;
  }
}

type Keys<N extends 1 | 2 | 3> = N extends 1 ? [Uint8Array]
  : N extends 2 ? [Uint8Array, Uint8Array]
  : [Uint8Array, Uint8Array, Uint8Array];

/**
 * Noise's HKDF (§4.3), which is RFC 5869 with ck as the salt and no info: 1 to
 * 3 keys of 32 bytes. What nobody uses need not be computed: the k of a token
 * before another's.
 */
export function derive<N extends 1 | 2 | 3>(
  ck: Uint8Array,
  material: Uint8Array,
  count: N,
): Keys<N> {
  const all = hkdfSync("sha256", material, ck, NOTHING, count * HASH_SIZE);
  const keys: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    keys.push(new Uint8Array(all, i * HASH_SIZE, HASH_SIZE));
  }
  return keys as Keys<N>;
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter));
  return nonce;
}
