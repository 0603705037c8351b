/**
 * The tags of knock/1: the first 8 bytes of every packet, which say that its
 * sender knows the server's public key, this minute. docs/protocol.md §3.
 * @module
 */

import { hmac, sha256 } from "../crypto/hash.ts";

/** Bytes of a tag, at the start of a packet. */
export const TAG_SIZE = 8;
/** Length of a window of time, in which the tag stays the same, milliseconds. */
export const WINDOW_MS = 60_000;

/** Label for deriving the key of the tags. Protocol §3. */
export const TAG_LABEL = "knock/1 tag";

/** Derives a key, 32 bytes, that all who know the server's public key have. */
export function deriveKey(
  label: string,
  serverPublic: Uint8Array,
): Uint8Array {
  return sha256(new TextEncoder().encode(label), serverPublic);
}

/** The number of the window that holds a time, Unix milliseconds. */
export function windowOf(ms: number): number {
  return Math.floor(ms / WINDOW_MS);
}

/** The windows whose tags are good at `nowMs`, rising: those within the skew. */
export function tagWindows(nowMs: number, maxSkewMs: number): number[] {
  const first = windowOf(nowMs - maxSkewMs);
  const last = windowOf(nowMs + maxSkewMs);
  const windows: number[] = [];
  for (let window = first; window <= last; window++) windows.push(window);
  return windows;
}

/** Computes the tag, 8 bytes, of a server (public key) in a window. */
export function tagOf(serverPublic: Uint8Array, window: number): Uint8Array {
  return computeTag(deriveKey(TAG_LABEL, serverPublic), window);
}

/** A tag in two words, and what its user keeps with it. */
interface Slot<T> {
  readonly head: number;
  readonly tail: number;
  readonly kept: T;
}

/**
 * Makes the finder of the tags that are good now, computed once a window, so
 * that to refuse a wrong one costs a few comparisons. `keep` is called once a
 * tag; the finder returns what it gave for the tag that a packet starts with,
 * or null if that is not current. `size` is the bytes of a tag that count, 5
 * to 8.
 */
export function currentTags<T>(
  serverPublic: Uint8Array,
  maxSkewMs: number,
  keep: (tag: Uint8Array) => T,
  size = TAG_SIZE,
): (packet: Uint8Array, nowMs: number) => T | null {
  const key = deriveKey(TAG_LABEL, serverPublic);
  let first = 0;
  let last = -1;
  let slots: readonly Slot<T>[] = [];

  const tailOf = (bytes: Uint8Array) =>
    readWord(bytes, 4) >>> 8 * (TAG_SIZE - size);
  const fill = (window: number): Slot<T> => {
    const tag = computeTag(key, window);
    return { head: readWord(tag, 0), tail: tailOf(tag), kept: keep(tag) };
  };
  return (packet, nowMs) => {
    const from = windowOf(nowMs - maxSkewMs);
    const to = windowOf(nowMs + maxSkewMs);
    if (from !== first || to !== last) {
      const moved: Slot<T>[] = [];
      for (let window = from; window <= to; window++) {
        moved.push(slots[window - first] ?? fill(window));
      }
      [slots, first, last] = [moved, from, to];
    }
    const head = readWord(packet, 0);
    const tail = tailOf(packet);
    // No secret is compared: the tag is in the clear in each packet.
    for (const slot of slots) {
      if (slot.head === head && slot.tail === tail) return slot.kept;
    }
    return null;
  };
}

function computeTag(key: Uint8Array, window: number): Uint8Array {
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setBigUint64(0, BigInt(window));
  return hmac("sha256", key)(counter).slice(0, TAG_SIZE);
}

function readWord(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 |
    bytes[at + 3]!);
}

export const MAC_SIZE = 16;

/** Size of every knock in bytes, whatever it asks for. Protocol §4. */
export const PACKET_SIZE = 216;

/** Size of every reply in bytes. Protocol §7. */
export const REPLY_SIZE = 80;

/** Where the mac is: it covers all before it. */
export const MAC_AT = PACKET_SIZE - MAC_SIZE;

/** Makes the macs, 16 bytes, of packets to one server, by its public key. */
export function macOf(
  serverPublic: Uint8Array,
  label = "knock/1 mac",
): (covered: Uint8Array) => Uint8Array {
  const authenticate = hmac("sha256", deriveKey(label, serverPublic));
  return (covered) => authenticate(covered).subarray(0, MAC_SIZE);
}
