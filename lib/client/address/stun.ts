/**
 * STUN, RFC 8489: as much of it as it takes to ask a server which address it
 * sees. Pure; an answer is hostile until it has proved itself.
 * @module
 */

import { ADDRESS_SIZE, addressFromBytes } from "../../values/address.ts";

/** Bytes of a transaction id, which must be random. RFC 8489 §5. */
export const TRANSACTION_SIZE = 12;

// RFC 8489 §5: a header is type, length, cookie and transaction.
const HEADER_SIZE = 20;
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const COOKIE = 0x2112a442;
const COOKIE_OFFSET = 4;
const TRANSACTION_OFFSET = 8;

// RFC 8489 §14: an attribute is type, length and value, padded to 4 bytes.
const ATTRIBUTE_HEADER_SIZE = 4;
const MAPPED_ADDRESS = 0x0001;
const XOR_MAPPED_ADDRESS = 0x0020;
/** Types below this must be understood, or the message is of no use. §14. */
const FIRST_OPTIONAL = 0x8000;
/**
 * Those that are understood and no matter: SOURCE-ADDRESS and CHANGED-ADDRESS of
 * RFC 3489, USERNAME, and the two kinds of MESSAGE-INTEGRITY, for lack of a key.
 */
const IGNORED: ReadonlySet<number> = new Set([0x04, 0x05, 0x06, 0x08, 0x1c]);

// RFC 8489 §14.1: an address is 0, family, port and bytes.
const FAMILY_OFFSET = 1;
const ADDRESS_OFFSET = 4;
/** Bytes of an address by its family. */
const SIZES: ReadonlyMap<number | undefined, number> = new Map([
  [1, 4], // IPv4
  [2, ADDRESS_SIZE],
]);

/** A binding request: 20 bytes. */
export function stunRequest(transaction: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, BINDING_REQUEST);
  view.setUint32(COOKIE_OFFSET, COOKIE);
  bytes.set(transaction, TRANSACTION_OFFSET);
  return bytes;
}

/**
 * The address in a server's answer to the request of this transaction,
 * canonical; null for anything else. Never throws.
 */
export function readStunAnswer(
  bytes: Uint8Array,
  transaction: Uint8Array,
): string | null {
  if (bytes.length < HEADER_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const size = view.getUint16(2);
  const ours = view.getUint16(0) === BINDING_SUCCESS &&
    view.getUint32(COOKIE_OFFSET) === COOKIE &&
    transaction.length === TRANSACTION_SIZE &&
    transaction.every((byte, i) => bytes[TRANSACTION_OFFSET + i] === byte);
  if (!ours || size % 4 !== 0 || HEADER_SIZE + size !== bytes.length) {
    return null;
  }
  // XOR-MAPPED-ADDRESS hides from routers that rewrite addresses: it wins.
  let plain: string | null = null;
  let xored: string | null = null;
  for (let at = HEADER_SIZE; at < bytes.length;) {
    const type = view.getUint16(at);
    const length = view.getUint16(at + 2);
    at += ATTRIBUTE_HEADER_SIZE;
    if (at + length > bytes.length) return null;
    const value = bytes.subarray(at, at + length);
    if (type === XOR_MAPPED_ADDRESS) {
      xored ??= readAddress(value, bytes.subarray(COOKIE_OFFSET, HEADER_SIZE));
    } else if (type === MAPPED_ADDRESS) {
      plain ??= readAddress(value, null);
    } else if (type < FIRST_OPTIONAL && !IGNORED.has(type)) {
      return null;
    }
    at += Math.ceil(length / 4) * 4;
  }
  return xored ?? plain;
}

/** An address attribute; `mask` is the cookie and the transaction. */
function readAddress(
  value: Uint8Array,
  mask: Uint8Array | null,
): string | null {
  const size = SIZES.get(value[FAMILY_OFFSET]);
  if (!size || value.length !== ADDRESS_OFFSET + size) return null;
  const address = value.slice(ADDRESS_OFFSET);
  if (mask) address.forEach((byte, i) => address[i] = byte ^ mask[i]!);
  return size === ADDRESS_SIZE ? addressFromBytes(address) : address.join(".");
}
