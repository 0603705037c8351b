/**
 * Sealing a knock in a browser: the web form of knock/1 by WebCrypto
 * (docs/protocol.md, "The web form"). Time, randomness and keys are arguments,
 * so that the vectors hold it.
 * @module
 */

/** Bytes of a key, a psk and a hash. */
export const KEY_SIZE = 32;

const PAYLOAD_SIZE = 68;
const TAG_SIZE = 6;
const MAC_SIZE = 16;
const WINDOW_MS = 60_000;
/** Most ports of a knock in the web form. */
export const MAX_PORTS = 8;

// Offsets in the payload; docs/protocol.md, "The payload".
const COUNT_AT = 2;
const SECONDS_AT = 4;
const TIME_AT = 8;
const CODE_AT = 32;
const ITEMS_AT = 36;
const OPEN = 1;
const WANTS_REPLY = 1;

type Bytes = Uint8Array<ArrayBuffer>;

/** The client's keys, and the server's public key. */
export interface Keys {
  /** 32 bytes. */
  readonly server: Bytes;
  /** The client's own private key; need not be extractable. */
  readonly key: CryptoKey;
  /** Its public half, 32 bytes. */
  readonly publicKey: Bytes;
  /** 32 bytes. */
  readonly psk: Bytes;
}

/** A fresh key pair for one knock. */
export interface Ephemeral {
  readonly privateKey: CryptoKey;
  /** 32 bytes. */
  readonly publicKey: Bytes;
}

/** The ports to open; empty: all that the server allows this client. */
export interface Ask {
  readonly ports: readonly {
    readonly protocol: "tcp" | "udp";
    readonly port: number;
  }[];
  /** Seconds; 0 = the server's default. */
  readonly seconds: number;
  /** A one-time code, 0 to 999999; null = none. */
  readonly code: number | null;
}

/** Both texts of an ICE candidate that carry one knock. */
export interface Sealed {
  /** 248 characters. */
  readonly ufrag: string;
  /** 43 characters. */
  readonly pwd: string;
}

/** Makes a key pair that cannot be extracted. Throws where the browser has no X25519. */
export async function generateKeys(): Promise<Ephemeral> {
  const pair = await crypto.subtle.generateKey("X25519", false, [
    "deriveBits",
  ]) as CryptoKeyPair;
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(raw) };
}

/** Imports a private key, 32 bytes, as one that cannot be extracted, and its public half. */
export async function importKey(bytes: Bytes): Promise<Ephemeral> {
  // RFC 8410 §7: what stands before the key in PKCS #8.
  const head = fromHex("302e020100300506032b656e04220420");
  const pkcs8 = concat(head, bytes);
  const privateKey = await crypto.subtle.importKey(
    "pkcs8",
    pkcs8,
    "X25519",
    false,
    ["deriveBits"],
  );
  // The public half is the private key times the base point, 9. RFC 7748 §6.1.
  const base = new Uint8Array(KEY_SIZE);
  base[0] = 9;
  return { privateKey, publicKey: await agree(privateKey, base) };
}

/** Seals a knock at `nowMs`, Unix milliseconds. */
export async function seal(
  keys: Keys,
  ephemeral: Ephemeral,
  ask: Ask,
  nowMs: number,
): Promise<Sealed> {
  const label = (text: string) => new TextEncoder().encode(text);
  const tagKey = await sha256(label("knock/1 tag"), keys.server);
  const window = new Uint8Array(8);
  new DataView(window.buffer).setBigUint64(
    0,
    BigInt(Math.floor(nowMs / WINDOW_MS)),
  );
  const tag = (await hmac(tagKey, window)).slice(0, TAG_SIZE);

  // Noise_IKpsk1_25519_AESGCM_SHA256, message 1: e, es, s, ss, psk.
  const name = label("Noise_IKpsk1_25519_AESGCM_SHA256");
  let h = await sha256(name, concat(label("knock/1 web"), tag));
  h = await sha256(h, keys.server);
  h = await sha256(h, ephemeral.publicKey);
  let [ck] = await derive(name, ephemeral.publicKey, 1);
  const es = await agree(ephemeral.privateKey, keys.server);
  let k: Bytes | undefined;
  let mixed: Bytes | undefined;
  [ck, k] = await derive(ck!, es, 2);
  const sealedStatic = await encrypt(k!, h, keys.publicKey);
  h = await sha256(h, sealedStatic);
  [ck] = await derive(ck!, await agree(keys.key, keys.server), 1);
  [ck, mixed, k] = await derive(ck!, keys.psk, 3);
  h = await sha256(h, mixed!);
  const sealedPayload = await encrypt(k!, h, payloadOf(ask, nowMs));

  const covered = concat(tag, ephemeral.publicKey, sealedStatic, sealedPayload);
  const macKey = await sha256(label("knock/1 web mac"), keys.server);
  const mac = (await hmac(macKey, covered)).slice(0, MAC_SIZE);
  const pwd = await hmac(ck!, label("knock/1 web pwd"));
  return {
    ufrag: toBase64(concat(covered, mac)),
    pwd: toBase64(pwd).replace("=", ""),
  };
}

/** The payload, 68 bytes: the address stays zero, the packet's source. */
function payloadOf({ ports, seconds, code }: Ask, nowMs: number): Bytes {
  const bytes = new Uint8Array(PAYLOAD_SIZE);
  const view = new DataView(bytes.buffer);
  bytes[0] = OPEN;
  bytes[1] = WANTS_REPLY;
  view.setUint16(COUNT_AT, ports.length);
  view.setUint32(SECONDS_AT, seconds);
  view.setBigUint64(TIME_AT, BigInt(Math.floor(nowMs)));
  view.setUint32(CODE_AT, code === null ? 0 : 1 + code);
  ports.slice(0, MAX_PORTS).forEach(({ protocol, port }, index) => {
    const at = ITEMS_AT + 4 * index;
    bytes[at] = protocol === "tcp" ? 6 : 17;
    view.setUint16(at + 2, port);
  });
  return bytes;
}

async function sha256(...parts: readonly Bytes[]): Promise<Bytes> {
  return new Uint8Array(
    await crypto.subtle.digest("SHA-256", concat(...parts)),
  );
}

async function hmac(key: Bytes, message: Bytes): Promise<Bytes> {
  const imported = await crypto.subtle.importKey(
    "raw",
    key,
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message));
}

/** Noise's HKDF (revision 34, §4.3): 1 to 3 keys of 32 bytes. */
async function derive(
  ck: Bytes,
  material: Bytes,
  count: number,
): Promise<Bytes[]> {
  const secret = await hmac(ck, material);
  const keys: Bytes[] = [];
  let last: Bytes = new Uint8Array();
  for (let index = 1; index <= count; index++) {
    last = await hmac(secret, concat(last, Uint8Array.of(index)));
    keys.push(last);
  }
  return keys;
}

async function encrypt(key: Bytes, associated: Bytes, text: Bytes) {
  const imported = await crypto.subtle.importKey(
    "raw",
    key,
    "AES-GCM",
    false,
    ["encrypt"],
  );
  // Each key encrypts once: the nonce is zero.
  const iv = new Uint8Array(12);
  const options = { name: "AES-GCM", iv, additionalData: associated };
  return new Uint8Array(await crypto.subtle.encrypt(options, imported, text));
}

async function agree(privateKey: CryptoKey, other: Bytes): Promise<Bytes> {
  const publicKey = await crypto.subtle.importKey(
    "raw",
    other,
    "X25519",
    false,
    [],
  );
  const options = { name: "X25519", public: publicKey };
  return new Uint8Array(
    await crypto.subtle.deriveBits(options, privateKey, 8 * KEY_SIZE),
  );
}

function concat(...parts: readonly Bytes[]): Bytes {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Not Uint8Array.toBase64(): a phone's browser may be older than that.

/** Writes base64 with padding. */
export function toBase64(bytes: Bytes): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Writes base64url without padding. */
export function toBase64url(bytes: Bytes): string {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_")
    .replaceAll("=", "");
}

/** Reads base64url without padding; null if it is none of `size` bytes. */
export function fromBase64url(text: string, size: number): Bytes | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (one) => one.charCodeAt(0));
    return bytes.length === size && toBase64url(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

function fromHex(text: string): Bytes {
  return Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
}
