/**
 * STUN as ICE uses it (RFC 8489, RFC 8445 §7): reading a browser's connectivity
 * check, and writing the two answers to one. Pure; a check is hostile until its
 * integrity holds.
 * @module
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import { addressToBytes, type Endpoint } from "../../../values/address.ts";

/** Longest check that is read, in bytes: browsers send 330 to 360. */
const MAX_CHECK_SIZE = 1200;

// RFC 8489 §5: a header is type, length, cookie and transaction.
const HEADER_SIZE = 20;
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const BINDING_ERROR = 0x0111;
const COOKIE = 0x2112a442;
const COOKIE_AT = 4;
const TRANSACTION_AT = 8;

// RFC 8489 §14: an attribute is type, length and value, padded to 4 bytes.
const ATTRIBUTE_HEADER_SIZE = 4;
const USERNAME = 0x0006;
const MESSAGE_INTEGRITY = 0x0008;
const ERROR_CODE = 0x0009;
const XOR_MAPPED_ADDRESS = 0x0020;
const FINGERPRINT = 0x8028;

const HMAC_SIZE = 20;
const CRC_SIZE = 4;
const FINGERPRINT_MASK = 0x5354554e;
const IPV4_SIZE = 4;
const FORBIDDEN = 403;

/** A connectivity check, as far as it can be read without a key. */
export interface Check {
  /** Value of USERNAME: the remote ufrag, ":", the local one. */
  readonly username: string;
  /** 12 bytes. */
  readonly transaction: Uint8Array;
  /** Offset of MESSAGE-INTEGRITY, which covers all before it. */
  readonly integrityAt: number;
}

/** Reports if a datagram has the first bytes of a check: type, cookie, USERNAME. Cheap. */
export function looksLikeCheck(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER_SIZE + ATTRIBUTE_HEADER_SIZE) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint16(0) === BINDING_REQUEST &&
    view.getUint32(COOKIE_AT) === COOKIE &&
    view.getUint16(HEADER_SIZE) === USERNAME;
}

/**
 * Reads a Binding Request whose first attribute is USERNAME. Null for anything
 * else: another type, a length that lies, no MESSAGE-INTEGRITY, a FINGERPRINT
 * that is wrong or not the last.
 */
export function readCheck(bytes: Uint8Array): Check | null {
  const { length } = bytes;
  if (length < HEADER_SIZE || length > MAX_CHECK_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  if (
    view.getUint16(0) !== BINDING_REQUEST ||
    view.getUint32(COOKIE_AT) !== COOKIE ||
    view.getUint16(2) !== length - HEADER_SIZE || length % 4 !== 0
  ) return null;
  let username: string | null = null;
  let integrityAt = 0;
  for (let at = HEADER_SIZE; at < length;) {
    const type = view.getUint16(at);
    const size = view.getUint16(at + 2);
    const valueAt = at + ATTRIBUTE_HEADER_SIZE;
    const next = valueAt + Math.ceil(size / 4) * 4;
    if (next > length) return null;
    if ((at === HEADER_SIZE) !== (type === USERNAME)) return null;
    if (type === USERNAME) {
      const name = bytes.subarray(valueAt, valueAt + size);
      username = String.fromCharCode(...name);
    } else if (type === MESSAGE_INTEGRITY) {
      if (size !== HMAC_SIZE || integrityAt !== 0) return null;
      integrityAt = at;
    } else if (type === FINGERPRINT) {
      const wanted = fingerprintOf(bytes.subarray(0, at));
      if (size !== CRC_SIZE || next !== length) return null;
      if (view.getUint32(valueAt) !== wanted) return null;
    }
    at = next;
  }
  if (username === null || integrityAt === 0) return null;
  const transaction = new Uint8Array(
    bytes.subarray(TRANSACTION_AT, HEADER_SIZE),
  );
  return { username, transaction, integrityAt };
}

/** Reports if a check's MESSAGE-INTEGRITY is of this password, in constant time. */
export function holds(
  bytes: Uint8Array,
  { integrityAt }: Check,
  password: string,
): boolean {
  const valueAt = integrityAt + ATTRIBUTE_HEADER_SIZE;
  return timingSafeEqual(
    integrityOf(bytes.subarray(0, integrityAt), password),
    bytes.subarray(valueAt, valueAt + HMAC_SIZE),
  );
}

/** Writes the answer to a check that was done: its sender's own address and port. */
export function successAnswer(
  transaction: Uint8Array,
  source: Endpoint,
  password: string,
): Uint8Array<ArrayBuffer> {
  const mapped = addressToBytes(source.host)!;
  const isIpv4 = !source.host.includes(":");
  const value = new Uint8Array(4 + (isIpv4 ? IPV4_SIZE : mapped.length));
  const mask = headerOf(BINDING_SUCCESS, transaction).subarray(COOKIE_AT);
  new DataView(value.buffer).setUint16(2, source.port ^ COOKIE >>> 16);
  value[1] = isIpv4 ? 1 : 2;
  mapped.subarray(isIpv4 ? mapped.length - IPV4_SIZE : 0)
    .forEach((byte, index) => value[4 + index] = byte ^ mask[index]!);
  const mapping = [XOR_MAPPED_ADDRESS, value] as const;
  return answer(BINDING_SUCCESS, transaction, password, mapping);
}

/** Writes the answer to a check that was refused or failed: 403, no phrase. */
export function errorAnswer(
  transaction: Uint8Array,
  password: string,
): Uint8Array<ArrayBuffer> {
  const code = Uint8Array.of(0, 0, FORBIDDEN / 100, FORBIDDEN % 100);
  return answer(BINDING_ERROR, transaction, password, [ERROR_CODE, code]);
}

function answer(
  type: number,
  transaction: Uint8Array,
  password: string,
  attribute: readonly [type: number, value: Uint8Array],
): Uint8Array<ArrayBuffer> {
  let bytes = append(headerOf(type, transaction), ...attribute);
  bytes = append(bytes, MESSAGE_INTEGRITY, integrityOf(bytes, password));
  const crc = new Uint8Array(CRC_SIZE);
  new DataView(crc.buffer).setUint32(0, fingerprintOf(bytes));
  return append(bytes, FINGERPRINT, crc);
}

function headerOf(
  type: number,
  transaction: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint32(COOKIE_AT, COOKIE);
  bytes.set(transaction, TRANSACTION_AT);
  return bytes;
}

function append(
  bytes: Uint8Array,
  type: number,
  value: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const size = bytes.length + ATTRIBUTE_HEADER_SIZE +
    Math.ceil(value.length / 4) * 4;
  const longer = withLength(bytes, size);
  const view = new DataView(longer.buffer);
  view.setUint16(bytes.length, type);
  view.setUint16(bytes.length + 2, value.length);
  longer.set(value, bytes.length + ATTRIBUTE_HEADER_SIZE);
  return longer;
}

/** The HMAC-SHA1 over a message whose length counts it. RFC 8489 §14.5. */
function integrityOf(before: Uint8Array, password: string): Uint8Array {
  const size = before.length + ATTRIBUTE_HEADER_SIZE + HMAC_SIZE;
  const covered = withLength(before, size).subarray(0, before.length);
  return createHmac("sha1", password).update(covered).digest();
}

/** The CRC-32 over a message whose length counts it. RFC 8489 §14.7. */
function fingerprintOf(before: Uint8Array): number {
  const size = before.length + ATTRIBUTE_HEADER_SIZE + CRC_SIZE;
  const covered = withLength(before, size).subarray(0, before.length);
  return (crc32(covered) ^ FINGERPRINT_MASK) >>> 0;
}

/** A copy with `size` bytes, which its header counts. */
function withLength(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(size);
  copy.set(bytes);
  new DataView(copy.buffer).setUint16(2, size - HEADER_SIZE);
  return copy;
}
