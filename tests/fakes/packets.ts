/** Shared parts of tests of packets: bytes from words, a scene, the result of opening one. */

import { createHash } from "node:crypto";
import type {
  Opened,
  PacketRefusal,
  Request,
  Scene,
} from "../../lib/dialects/dialect.ts";

/** 32 bytes that are always the same for a text: keys, nonces. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

/** A moment at which nothing was seen before, and everything may cost. */
export function sceneAt(nowMs: number): Scene {
  return { nowMs, seen: () => false, mayCost: () => true };
}

/** The request of an opened packet; throws where it was refused. */
export function requestOf(opened: Opened): Request {
  if (!opened.ok) throw new Error(`refused: ${opened.why}`);
  return opened.request;
}

/** Why a packet was refused; null: it was opened. */
export function why(opened: Opened): PacketRefusal | null {
  return opened.ok ? null : opened.why;
}
