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
 * The tags that are good now, computed once a window, so that to refuse a
 * wrong one costs a few comparisons.
 */
export class CurrentTags<T> {
  readonly #key: Uint8Array;
  readonly #maxSkewMs: number;
  readonly #keep: (tag: Uint8Array) => T;
  /** Bytes of a tag that count, 5 to 8. */
  readonly #size: number;
  #first = 0;
  #last = -1;
  #slots: readonly Slot<T>[] = [];

  /** `keep` is called once a tag; {@linkcode find} returns what it gave. */
  constructor(
    serverPublic: Uint8Array,
    maxSkewMs: number,
    keep: (tag: Uint8Array) => T,
    size = TAG_SIZE,
  ) {
    this.#key = deriveKey(TAG_LABEL, serverPublic);
    this.#maxSkewMs = maxSkewMs;
    this.#keep = keep;
    this.#size = size;
  }

  /** Returns the value kept with the tag that this packet starts with; null if the tag is not current. */
  find(packet: Uint8Array, nowMs: number): T | null {
    const first = windowOf(nowMs - this.#maxSkewMs);
    const last = windowOf(nowMs + this.#maxSkewMs);
    if (first !== this.#first || last !== this.#last) this.#move(first, last);
    const head = readWord(packet, 0);
    const tail = this.#tailOf(packet);
    // No secret is compared: the tag is in the clear in each packet.
    for (const slot of this.#slots) {
      if (slot.head === head && slot.tail === tail) return slot.kept;
    }
    return null;
  }

  #move(first: number, last: number): void {
    const slots: Slot<T>[] = [];
    for (let window = first; window <= last; window++) {
      slots.push(this.#slots[window - this.#first] ?? this.#fill(window));
    }
    this.#slots = slots;
    this.#first = first;
    this.#last = last;
  }

  #fill(window: number): Slot<T> {
    const tag = computeTag(this.#key, window);
    const kept = this.#keep(tag);
    return { head: readWord(tag, 0), tail: this.#tailOf(tag), kept };
  }

  #tailOf(packet: Uint8Array): number {
    return readWord(packet, 4) >>> 8 * (TAG_SIZE - this.#size);
  }
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

export const MAC_LABEL = "knock/1 mac";

/** Makes the macs, 16 bytes, of packets to one server, by its public key. */
export function macOf(
  serverPublic: Uint8Array,
  label = MAC_LABEL,
): (covered: Uint8Array) => Uint8Array {
  const authenticate = hmac("sha256", deriveKey(label, serverPublic));
  return (covered) => authenticate(covered).subarray(0, MAC_SIZE);
}
