/**
 * Payloads of knock/1: the 96 bytes of a knock (docs/protocol.md §5) and the 32
 * bytes of a reply (§7).
 * One meaning has one form: a payload with any other bit set is refused.
 * @module
 */

import {
  ADDRESS_SIZE,
  addressFromBytes,
  addressToBytes,
} from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import type { Action, Answer, PolicyRefusal, Request } from "../dialect.ts";
import { isZero, readItems, writeItems } from "./items.ts";

/** Size of a knock's payload in bytes. */
export const PAYLOAD_SIZE = 96;
const REPLY_PAYLOAD_SIZE = 32;

/** Contents of a knock: a request without its sender. */
export type Knock = Pick<
  Request,
  | "action"
  | "ports"
  | "command"
  | "seconds"
  | "timestampMs"
  | "address"
  | "code"
  | "wantsReply"
>;

// Offsets in a knock's payload.
const ACTION_AT = 0;
const FLAGS_AT = 1;
const COUNT_AT = 2;
const SECONDS_AT = 4;
const TIMESTAMP_AT = 8;
const ADDRESS_AT = 16;
const CODE_AT = 32;
const ITEMS_AT = 36;

// Offsets in a reply's payload.
const STATUS_AT = 0;
const REASON_AT = 1;
const REPLY_COUNT_AT = 2;
const REPLY_SECONDS_AT = 4;
const REPLY_TIME_AT = 8;
const REPLY_ADDRESS_AT = 16;

/** Actions by their number. */
const ACTIONS: readonly (Action | null)[] = //
  [null, "open", "close", "run", "ping"];
const FLAG_REPLY = 1;
/** The field holds 1 + the code: six digits. */
const MAX_CODE_FIELD = 1_000_000;
const STATUSES = ["done", "refused", "failed"] as const;
/** Reasons of a refusal by their number (docs/protocol.md §7); 0 = none given. */
const REASONS: readonly (PolicyRefusal | null)[] = [
  null,
  "expired",
  "hours",
  "address required",
  "address",
  "source",
  "ports",
  "nothing to open",
  "command",
  "code",
  "code used",
  "code tries",
  "forward",
];
const MAX_U32 = 0xffff_ffff;

/**
 * Writes a knock's payload, 96 bytes, or 68 in the web form. Throws UsageError
 * for a request that does not fit; a range is written as its ports, one by one.
 */
export function encodeKnock(knock: Knock, size = PAYLOAD_SIZE): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes[ACTION_AT] = ACTIONS.indexOf(knock.action);
  bytes[FLAGS_AT] = knock.wantsReply ? FLAG_REPLY : 0;
  view.setUint32(SECONDS_AT, checkSeconds(knock.seconds));
  writeTime(view, TIMESTAMP_AT, knock.timestampMs);
  if (knock.address !== null) {
    bytes.set(checkAddress(knock.address), ADDRESS_AT);
  }
  view.setUint32(CODE_AT, knock.code === null ? 0 : 1 + checkCode(knock.code));
  view.setUint16(
    COUNT_AT,
    writeItems(bytes.subarray(ITEMS_AT), knock.action, knock),
  );
  return bytes;
}

/** Reads a knock's payload of `size` bytes; null if it is not exactly one that has a meaning. */
export function decodeKnock(
  bytes: Uint8Array,
  size = PAYLOAD_SIZE,
): Knock | null {
  if (bytes.length !== size) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const action = ACTIONS[bytes[ACTION_AT]!];
  const flags = bytes[FLAGS_AT]!;
  const codeField = view.getUint32(CODE_AT);
  if (!action || flags > FLAG_REPLY || codeField > MAX_CODE_FIELD) return null;
  const items = readItems(
    action,
    view.getUint16(COUNT_AT),
    bytes.subarray(ITEMS_AT),
  );
  if (!items) return null;
  const address = bytes.subarray(ADDRESS_AT, ADDRESS_AT + ADDRESS_SIZE);
  return {
    action,
    ports: items.ports,
    command: items.command,
    seconds: view.getUint32(SECONDS_AT),
    timestampMs: readTime(view, TIMESTAMP_AT),
    address: isZero(address) ? null : addressFromBytes(address),
    code: codeField === 0 ? null : codeField - 1,
    wantsReply: flags === FLAG_REPLY,
  };
}

/** Writes a reply's payload, 32 bytes. */
export function encodeReply(answer: Answer): Uint8Array {
  const bytes = new Uint8Array(REPLY_PAYLOAD_SIZE);
  const view = new DataView(bytes.buffer);
  bytes[STATUS_AT] = STATUSES.indexOf(answer.status);
  if (answer.status === "refused" && answer.reason !== undefined) {
    // One without a number is none given.
    bytes[REASON_AT] = Math.max(REASONS.indexOf(answer.reason), 0);
  }
  view.setUint16(REPLY_COUNT_AT, Math.min(answer.count, 0xffff));
  view.setUint32(REPLY_SECONDS_AT, Math.min(answer.seconds, MAX_U32));
  writeTime(view, REPLY_TIME_AT, answer.timeMs);
  bytes.set(addressToBytes(answer.address)!, REPLY_ADDRESS_AT);
  return bytes;
}

/** Reads a reply's payload; null if it is not exactly one that has a meaning. */
export function decodeReply(bytes: Uint8Array): Answer | null {
  if (bytes.length !== REPLY_PAYLOAD_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const status = STATUSES[bytes[STATUS_AT]!];
  const number = bytes[REASON_AT]!;
  if (!status || number !== 0 && status !== "refused") return null;
  // A reason of a later version is ignored.
  const reason = REASONS[number];
  return {
    status,
    ...reason && { reason },
    count: view.getUint16(REPLY_COUNT_AT),
    seconds: view.getUint32(REPLY_SECONDS_AT),
    timeMs: readTime(view, REPLY_TIME_AT),
    address: addressFromBytes(bytes.subarray(REPLY_ADDRESS_AT)),
  };
}

function checkSeconds(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_U32) {
    return seconds;
  }
  throw new UsageError(
    `the duration must be 0 to ${MAX_U32} whole seconds, got "${seconds}"`,
  );
}

function checkCode(code: number): number {
  if (Number.isInteger(code) && code >= 0 && code < MAX_CODE_FIELD) return code;
  throw new UsageError("a one-time code must have six digits");
}

function checkAddress(address: string): Uint8Array {
  const bytes = addressToBytes(address);
  // All zero would mean another thing: the address that the packet came from.
  if (bytes && !isZero(bytes)) return bytes;
  throw new UsageError(`the address must be one of a host, got "${address}"`);
}

// Two halves are read and written faster than a bigint. Past 2^53 the value is
// rounded; it is far from any clock all the same.
function readTime(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

function writeTime(view: DataView, at: number, ms: number): void {
  view.setUint32(at, Math.floor(ms / 2 ** 32));
  view.setUint32(at + 4, ms % 2 ** 32);
}
