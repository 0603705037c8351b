/**
 * TLV8, the items of OpenSPA: type, length, value, a byte each for the first
 * two. A longer value goes on in items of the same type, all but the last of
 * 255 bytes; type 0 is a separator of one byte.
 * @module
 */

import { concat } from "../../values/bytes.ts";

const SEPARATOR = 0;
/** Bytes of a value that one item holds. */
const MAX_PART = 255;

/** An item's type, 1 to 255, and its value, of any length. */
export type Item = readonly [type: number, value: Uint8Array];

/**
 * Reads items; of several with one type the first counts. Null if a length
 * runs past the end, or if two items of one type are not kept apart.
 * The values are copies.
 */
export function readItems(
  bytes: Uint8Array,
): ReadonlyMap<number, Uint8Array> | null {
  const items = new Map<number, Uint8Array>();
  let at = 0;
  while (at < bytes.length) {
    const type = bytes[at]!;
    if (type === SEPARATOR) {
      at++;
      continue;
    }
    const parts: Uint8Array[] = [];
    let size = MAX_PART;
    while (at < bytes.length && bytes[at] === type) {
      if (size < MAX_PART || at + 1 >= bytes.length) return null;
      size = bytes[at + 1]!;
      const end = at + 2 + size;
      if (end > bytes.length) return null;
      parts.push(bytes.subarray(at + 2, end));
      at = end;
    }
    if (!items.has(type)) items.set(type, concat(...parts));
  }
  return items;
}

/** Writes items, with a separator between two of one type. */
export function writeItems(
  ...items: readonly Item[]
): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  let before = SEPARATOR;
  for (const [type, value] of items) {
    if (type === before) bytes.push(SEPARATOR);
    before = type;
    let at = 0;
    do {
      const part = value.subarray(at, at + MAX_PART);
      bytes.push(type, part.length, ...part);
      at += MAX_PART;
    } while (at < value.length);
  }
  return Uint8Array.from(bytes);
}
