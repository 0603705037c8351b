/**
 * The text that fwknop encrypts, protocol 3.0.0: fields between ":", those of
 * free text in base64, and a checksum of them all.
 *
 *     digits:user:timestamp:version:type:message[:nat][:server_auth][:timeout]:checksum
 *
 * @module
 */

import {
  base64Length,
  formatBareBase64,
  parseBase64,
} from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { checksumType, digest, type DigestType } from "../crypto/hash.ts";

/** The fields of a message, as they were sent. */
export interface Message {
  /** 16 random decimal digits. */
  readonly digits: string;
  /** Name of the client's user, not authenticated. */
  readonly user: string;
  /** Unix seconds. */
  readonly timestamp: number;
  /** Of the protocol, such as "3.0.0". */
  readonly version: string;
  /** 0 to 6: see MESSAGE_TYPES. */
  readonly type: number;
  /** "ADDRESS,tcp/22" or "ADDRESS,COMMAND". */
  readonly text: string;
  /** "HOST,PORT" for the types with NAT. */
  readonly nat: string | null;
  /** Free text that no known client sends and no server reads. */
  readonly serverAuth: string | null;
  /** Seconds, for the types with a timeout. */
  readonly timeout: number | null;
  readonly checksum: DigestType;
}

/** Fields of each type of message besides its text. */
export const MESSAGE_TYPES: readonly {
  readonly name: string;
  readonly nat: "nat" | "local" | null;
  readonly timeout: boolean;
}[] = [
  { name: "command", nat: null, timeout: false },
  { name: "access", nat: null, timeout: false },
  { name: "nat access", nat: "nat", timeout: false },
  { name: "access with timeout", nat: null, timeout: true },
  { name: "nat access with timeout", nat: "nat", timeout: true },
  { name: "local nat access", nat: "local", timeout: false },
  { name: "local nat access with timeout", nat: "local", timeout: true },
];

/** Digits at the start. */
export const DIGITS_SIZE = 16;
/** The longest timeout that fwknop knows, seconds. */
export const MAX_TIMEOUT_SECONDS = 65536;

// The most characters that fwknop decodes of each field.
const MAX_USER_LENGTH = 64;
const MAX_TEXT_LENGTH = 256;
const MAX_TIMESTAMP_LENGTH = 12;
const MAX_VERSION_LENGTH = 8;

const USER = /^[ -~]+$/;
const NOT_IN_USER = /["/\\[\]:;|=,+*?<>]/;
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f]/;

/** Result of {@linkcode decodeMessage}. */
export type Decoded =
  | { readonly ok: true; readonly message: Message }
  /** "cipher": this is no text of fwknop's, so the key or the mode is wrong. */
  | { readonly ok: false; readonly why: "cipher" | "payload" };

/** Reads a decrypted text. Never throws. */
export function decodeMessage(plaintext: Uint8Array): Decoded {
  // 16 digits come out of a wrong key once in 10^22 times.
  if (!looksDecrypted(plaintext)) return { ok: false, why: "cipher" };
  const text = String.fromCharCode(...plaintext);
  const end = text.lastIndexOf(":");
  const checksum = checksumType(
    plaintext.subarray(0, end),
    text.slice(end + 1),
  );
  if (!checksum) return { ok: false, why: "cipher" };
  const fields = readFields(text.slice(0, end).split(":"));
  return fields
    ? { ok: true, message: { ...fields, checksum } }
    : { ok: false, why: "payload" };
}

/**
 * Writes the text to encrypt. Throws UsageError for fields that a server would
 * not read.
 */
export function encodeMessage(message: Message): Uint8Array {
  const { nat, serverAuth, timeout } = message;
  const fields = [
    message.digits,
    encodeField("the user's name", message.user, MAX_USER_LENGTH),
    `${message.timestamp}`,
    message.version,
    `${message.type}`,
    encodeField("the request", message.text, MAX_TEXT_LENGTH),
    ...nat === null
      ? []
      : [encodeField("the NAT target", nat, MAX_TEXT_LENGTH)],
    ...serverAuth === null
      ? []
      : [encodeField("the server's word", serverAuth, MAX_TEXT_LENGTH)],
    ...timeout === null ? [] : [`${timeout}`],
  ];
  if (!readFields(fields)) {
    throw new UsageError("this does not go into a packet of fwknop's");
  }
  const body = fields.join(":");
  const sum = digest(message.checksum, encoder.encode(body));
  return encoder.encode(`${body}:${formatBareBase64(sum)}`);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const COLON = ":".charCodeAt(0);

function looksDecrypted(plaintext: Uint8Array): boolean {
  return plaintext[DIGITS_SIZE] === COLON &&
    plaintext.subarray(0, DIGITS_SIZE).every((byte) =>
      byte >= 0x30 && byte <= 0x39
    ) &&
    plaintext.every((byte) => byte >= 0x20 && byte <= 0x7e);
}

function readFields(
  fields: readonly string[],
): Omit<Message, "checksum"> | null {
  const [digits, user64, timestamp, version, type, text64, ...rest] = fields;
  if (text64 === undefined) return null;
  if (!/^\d{16}$/.test(digits!)) return null;
  const user = decodeField(user64!, MAX_USER_LENGTH);
  if (user === null || !USER.test(user) || NOT_IN_USER.test(user)) return null;
  if (!isDecimal(timestamp!, MAX_TIMESTAMP_LENGTH)) return null;
  if (version === "" || version!.length > MAX_VERSION_LENGTH) return null;
  if (!/^[0-6]$/.test(type!)) return null;
  const text = decodeField(text64, MAX_TEXT_LENGTH);
  if (text === null) return null;

  const kind = MESSAGE_TYPES[Number(type)]!;
  const nat = kind.nat ? decodeField(rest.shift() ?? "", MAX_TEXT_LENGTH) : "";
  const timeout = kind.timeout ? rest.pop() ?? "" : "0";
  const auth = rest.length > 0
    ? decodeField(rest.shift()!, MAX_TEXT_LENGTH)
    : "";
  if (nat === null || auth === null || rest.length > 0) return null;
  if (!isDecimal(timeout, 5) || Number(timeout) > MAX_TIMEOUT_SECONDS) {
    return null;
  }
  return {
    digits: digits!,
    user,
    timestamp: Number(timestamp),
    version: version!,
    type: Number(type),
    text,
    nat: kind.nat ? nat : null,
    serverAuth: auth === "" ? null : auth,
    timeout: kind.timeout ? Number(timeout) : null,
  };
}

/** Text of a field, without control characters; null for another or an empty one. */
function decodeField(field: string, longest: number): string | null {
  if (field.length > longest) return null;
  const bytes = parseBase64(field, { padding: "none" });
  if (!bytes || bytes.length === 0) return null;
  try {
    const text = decoder.decode(bytes);
    return CONTROL.test(text) ? null : text;
  } catch {
    return null;
  }
}

function encodeField(what: string, text: string, longest: number): string {
  const bytes = encoder.encode(text);
  if (bytes.length > 0 && base64Length(bytes.length) <= longest) {
    return formatBareBase64(bytes);
  }
  const most = Math.floor(longest * 3 / 4);
  throw new UsageError(
    `${what} must have 1 to ${most} bytes for fwknop, got ${bytes.length}`,
  );
}

function isDecimal(text: string, longest: number): boolean {
  return text.length <= longest && /^\d+$/.test(text);
}
