/** A browser, as tests need it: seals a knock in the web form, and sends it in a check of ICE. */

import { createHmac } from "node:crypto";
import { crc32 } from "node:zlib";
import {
  importPublicKey,
  keyPairOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { hmac } from "../../lib/dialects/crypto/hash.ts";
import { writeMessage1 } from "../../lib/dialects/knock1/noise.ts";
import { encodeKnock, type Knock } from "../../lib/dialects/knock1/payload.ts";
import type { Knock1Keys } from "../../lib/dialects/knock1/seal.ts";
import { tagOf, windowOf } from "../../lib/dialects/knock1/tag.ts";
import {
  beginWeb,
  WEB_TAG_SIZE,
  webMacOf,
} from "../../lib/dialects/knock1/web/form.ts";
import { concat, formatBareBase64 } from "../../lib/values/bytes.ts";
import { UsageError } from "../../lib/values/errors.ts";

const PAYLOAD_SIZE = 68;
const PWD_LABEL = new TextEncoder().encode("knock/1 web pwd");

/** Seals a knock at `nowMs`: both texts of an ICE candidate. Throws UsageError for what does not fit. */
export function sealWebKnock(
  keys: Knock1Keys,
  request: Omit<Knock, "timestampMs" | "wantsReply">,
  nowMs: number,
): { readonly ufrag: string; readonly pwd: string } {
  const knock = { ...request, timestampMs: nowMs, wantsReply: true };
  const tag = tagOf(keys.server, windowOf(nowMs)).subarray(0, WEB_TAG_SIZE);
  const sent = writeMessage1(
    beginWeb(tag, keys.server),
    {
      own: keyPairOf(keys.key),
      ephemeral: keyPairOf(keys.ephemeral),
      responder: importPublicKey(keys.server),
      psk: keys.psk,
    },
    encodeKnock(knock, PAYLOAD_SIZE),
  );
  if (!sent) throw new UsageError("the server's public key is not usable");
  const covered = concat(tag, sent.message);
  const packet = concat(covered, webMacOf(keys.server)(covered));
  const pwd = formatBareBase64(hmac("sha256", sent.chain.ck)(PWD_LABEL));
  return { ufrag: packet.toBase64(), pwd };
}

const HEADER_SIZE = 20;
const USERNAME = 0x0006;
const MESSAGE_INTEGRITY = 0x0008;
const FINGERPRINT = 0x8028;

/** Writes a check as a browser does: USERNAME first, then `more`, integrity, fingerprint. */
export function writeCheck(
  username: string,
  transaction: Uint8Array,
  password: string,
  more: readonly (readonly [type: number, value: Uint8Array])[] = [],
): Uint8Array<ArrayBuffer> {
  const header = Uint8Array.fromHex("000100002112a442");
  const name = new TextEncoder().encode(username);
  let bytes = concat(header, transaction);
  for (const [type, value] of [[USERNAME, name] as const, ...more]) {
    bytes = concat(bytes, attribute(type, value));
  }
  const integrity = createHmac("sha1", password)
    .update(counting(bytes, 24)).digest();
  bytes = concat(bytes, attribute(MESSAGE_INTEGRITY, integrity));
  const crc = new Uint8Array(4);
  const sum = crc32(counting(bytes, 8)) ^ 0x5354554e;
  new DataView(crc.buffer).setUint32(0, sum >>> 0);
  return counting(concat(bytes, attribute(FINGERPRINT, crc)), 0);
}

/** An attribute, padded to 4 bytes. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + Math.ceil(value.length / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  view.setUint16(2, value.length);
  bytes.set(value, 4);
  return bytes;
}

/** A copy whose length counts `more` bytes behind it, too. */
function counting(bytes: Uint8Array, more: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  const size = bytes.length - HEADER_SIZE + more;
  new DataView(copy.buffer).setUint16(2, size);
  return copy;
}
