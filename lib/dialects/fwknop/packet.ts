/**
 * The outside of a packet of fwknop's: base64 of "Salted__", a salt and a
 * ciphertext, without the ten characters that are the same in every packet,
 * and then the HMAC of all that.
 * @module
 */

import {
  base64Length,
  concat,
  formatBareBase64,
  parseBase64,
} from "../../values/bytes.ts";
import { hmac } from "../crypto/hash.ts";
import { BLOCK_SIZE, SALT_SIZE } from "./cipher.ts";
import type { FwknopKeys } from "./keys.ts";

/** The shortest and the longest packet that fwknopd takes, in characters. */
export const MIN_PACKET_SIZE = 140;
export const MAX_PACKET_SIZE = 1500;

/** Start of every OpenSSL ciphertext, and the part of its base64 that fwknop omits. */
const MAGIC = new TextEncoder().encode("Salted__");
const LEFT_OUT = new TextEncoder().encode("U2FsdGVkX1");

/** First characters that a packet may have: they hold the last bits of the magic. */
export const FIRST_CHARACTERS = "89+/";
const FIRST = charactersOf(FIRST_CHARACTERS);
const ALPHABET = charactersOf(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
);

/** The parts of a packet. */
export interface Split {
  /** Input of the HMAC: the text with the omitted characters. */
  readonly covered: Uint8Array;
  /** The HMAC as it was sent; empty where there is none. */
  readonly mac: Uint8Array;
}

/** True if a packet could be fwknop's: length, alphabet, first character. */
export function hasForm(packet: Uint8Array): boolean {
  if (packet.length < MIN_PACKET_SIZE || packet.length > MAX_PACKET_SIZE) {
    return false;
  }
  if (FIRST[packet[0]!] === 0) return false;
  for (let at = 1; at < packet.length; at++) {
    if (ALPHABET[packet[at]!] === 0) return false;
  }
  return true;
}

/** True if a packet of this length, with an HMAC of so many characters, holds whole blocks. */
export function holdsBlocks(length: number, macLength: number): boolean {
  const characters = length - macLength + LEFT_OUT.length;
  const size = Math.floor(characters * 3 / 4);
  return size >= MAGIC.length + SALT_SIZE + BLOCK_SIZE &&
    size % BLOCK_SIZE === 0 && base64Length(size) === characters;
}

/**
 * Splits a packet that has the form, before an HMAC of so many characters;
 * null if what is left cannot be whole blocks, or if the HMAC has spare bits.
 */
export function splitPacket(
  packet: Uint8Array,
  macLength: number,
): Split | null {
  return holdsBlocks(packet.length, macLength)
    ? splitMac(packet, macLength, LEFT_OUT)
    : null;
}

/** Splits a packet before an HMAC of so many characters; null if that has spare bits. */
export function splitMac(
  packet: Uint8Array,
  macLength: number,
  leftOut: Uint8Array,
): Split | null {
  const end = packet.length - macLength;
  const mac = parseAscii(packet.subarray(end));
  return mac && { covered: concat(leftOut, packet.subarray(0, end)), mac };
}

/**
 * Reads what the HMAC covers: a salt of 8 bytes, whole blocks of 16, and both
 * in one; null if it has spare bits.
 */
export function readSealed(
  covered: Uint8Array,
): Record<"salt" | "ciphertext" | "bytes", Uint8Array> | null {
  const bytes = parseAscii(covered)?.subarray(MAGIC.length);
  if (!bytes) return null;
  const salt = bytes.subarray(0, SALT_SIZE);
  return { salt, ciphertext: bytes.subarray(SALT_SIZE), bytes };
}

/** Writes what {@linkcode readSealed} reads. */
export function writeSealed(
  salt: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  return bytesOf(formatBareBase64(concat(MAGIC, salt, ciphertext)));
}

/** Writes what {@linkcode splitMac} splits, with the HMAC of a key, or without one. */
export function joinPacket(
  covered: Uint8Array,
  key: FwknopKeys["hmac"],
  leftOut = LEFT_OUT,
): Uint8Array<ArrayBuffer> {
  const mac = key ? formatBareBase64(hmac(key.type, key.key)(covered)) : "";
  return concat(covered.subarray(leftOut.length), bytesOf(mac));
}

/** Reads base64 of ASCII bytes, without padding; null if it has spare bits. */
export function parseAscii(ascii: Uint8Array): Uint8Array | null {
  return parseBase64(String.fromCharCode(...ascii), { padding: "none" });
}

function charactersOf(text: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const byte of bytesOf(text)) table[byte] = 1;
  return table;
}

function bytesOf(ascii: string): Uint8Array {
  return new TextEncoder().encode(ascii);
}
