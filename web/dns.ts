/**
 * Addresses of a name by DNS over HTTPS (RFC 8484): a question as a URL, and
 * the answer's addresses. Pure; an answer is a stranger's.
 * @module
 */

import { toBase64url } from "./seal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Types of records: an IPv4 address, an IPv6 address. RFC 1035, RFC 3596. */
export const RECORDS = { A: 1, AAAA: 28 } as const;

const HEADER_SIZE = 12;
const RECURSION_DESIRED = 0x0100;
const INTERNET = 1;
const POINTER = 0xc0;
const MAX_LABEL = 63;

/** Writes the question for a name's records as a URL of the resolver; null: it is no name. */
export function dnsQuestion(
  resolver: string,
  name: string,
  type: number,
): string | null {
  const labels = name.replace(/\.$/, "").split(".");
  if (!labels.every((one) => /^[A-Za-z0-9_-]+$/.test(one))) return null;
  if (labels.some((one) => one.length > MAX_LABEL)) return null;
  const bytes = [
    // The id is 0, for caches; one question.
    ...[0, 0, RECURSION_DESIRED >> 8, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ...labels.flatMap((one) => [
      one.length,
      ...new TextEncoder().encode(one),
    ]),
    ...[0, 0, type, 0, INTERNET],
  ];
  const url = new URL(resolver);
  url.searchParams.set("dns", toBase64url(Uint8Array.from(bytes)));
  return url.href;
}

/** Reads the addresses in an answer, IPv4 and IPv6; empty for anything else. Never throws. */
export function readDnsAnswer(bytes: Bytes): string[] {
  if (bytes.length < HEADER_SIZE) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: string[] = [];
  let at = HEADER_SIZE;
  for (let left = view.getUint16(4); left > 0; left--) {
    at = afterName(bytes, at) + 4;
  }
  for (let left = view.getUint16(6); left > 0; left--) {
    at = afterName(bytes, at);
    if (at + 10 > bytes.length) break;
    const type = view.getUint16(at);
    const size = view.getUint16(at + 8);
    const value = bytes.subarray(at + 10, at + 10 + size);
    at += 10 + size;
    if (at > bytes.length) break;
    if (type === RECORDS.A && size === 4) found.push(value.join("."));
    if (type === RECORDS.AAAA && size === 16) found.push(formatIpv6(value));
  }
  return found;
}

/** The offset behind a name: labels up to an empty one, or up to a pointer. RFC 1035 §4.1.4. */
function afterName(bytes: Bytes, at: number): number {
  while (at < bytes.length) {
    const size = bytes[at]!;
    if (size >= POINTER) return at + 2;
    at += 1 + size;
    if (size === 0) break;
  }
  return at;
}

function formatIpv6(bytes: Bytes): string {
  const groups = Array.from(
    { length: 8 },
    (_, index) => (bytes[2 * index]! << 8 | bytes[2 * index + 1]!).toString(16),
  );
  return groups.join(":");
}
