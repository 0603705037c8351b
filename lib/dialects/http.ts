/**
 * A packet as the path of an HTTP request: `GET /PACKET HTTP/1.1`. One of
 * fwknop's is its base64 with "-" and "_" in the place of "+" and "/"; any
 * other is its bytes in base64url. Pure.
 * @module
 */

import { parseBase64 } from "../values/bytes.ts";

/** The answer to every request. */
export const NOT_FOUND: Uint8Array = new TextEncoder().encode(
  "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
);

/** A request line as fwknop's client writes it, to a server or to a proxy. */
const REQUEST =
  /^GET (?:http:\/\/[^/ ]*)?\/([A-Za-z0-9_-]{1,1500}) HTTP\/1\.[01]\r?\n/;

/** The packets that a request may carry: none, or its text and its bytes. Never throws. */
export function readHttpPacket(request: Uint8Array): Uint8Array[] {
  let line = "";
  for (const byte of request) {
    line += String.fromCharCode(byte);
    if (line.endsWith("\n")) break;
  }
  const path = REQUEST.exec(line)?.[1];
  if (path === undefined) return [];
  const text = new TextEncoder().encode(
    path.replaceAll("-", "+").replaceAll("_", "/"),
  );
  const bytes = parseBase64(path, { alphabet: "base64url" });
  return bytes ? [bytes, text] : [text];
}

/** The path of a packet: fwknop's as text, others as base64url. */
export function httpPath(packet: Uint8Array, isText: boolean): string {
  return isText
    ? String.fromCharCode(...packet).replaceAll("+", "-").replaceAll("/", "_")
    : packet.toBase64({ alphabet: "base64url", omitPadding: true });
}
