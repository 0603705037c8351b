/**
 * Profiles of the page: read from an enrolment's link, and as they are stored.
 * Pure.
 * @module
 */

import { fromBase64url, KEY_SIZE } from "./seal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** An enrolment, as the fragment of the page's link carries it. */
export interface Enrolment {
  readonly name: string;
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** The server's public key, 32 bytes. */
  readonly server: Bytes;
  /** The client's private key, 32 bytes; null: this page made its own. */
  readonly key: Bytes | null;
  /** 32 bytes. */
  readonly psk: Bytes;
  /** The server's addresses when it was made. */
  readonly at: readonly string[];
  /** A resolver for DNS over HTTPS (RFC 8484), a URL; null: none. */
  readonly doh: string | null;
  /** Address to go to once it is open; null: nowhere. */
  readonly then: string | null;
  /** True if the page knocks as it opens. */
  readonly auto: boolean;
  /** True if a one-time code is needed. */
  readonly code: boolean;
  /** Time to ask for, seconds; 0: as the server decides. */
  readonly seconds: number;
}

/** The outcome of reading: an enrolment, or the reason in words for the user. */
export type Read =
  | { readonly ok: true; readonly enrolment: Enrolment }
  | { readonly ok: false; readonly why: string };

const DEFAULT_PORT = 62201;
const CUT =
  "The link is incomplete. Scan the QR code again, or copy the whole line.";

/** Reads `knock://HOST:PORT/?…#NAME`, alone or behind a page's link and "#". */
export function readEnrolment(text: string): Read {
  const line = text.replace(/\s+/g, "");
  const start = line.indexOf("knock://");
  if (start < 0) {
    return { ok: false, why: "This is not an enrolment: it has no knock://." };
  }
  const match =
    /^knock:\/\/(\[[0-9A-Fa-f:.]+\]|[^/:?#[\]]+)(?::(\d{1,5}))?\/?\?([^#]*)#(.+)$/
      .exec(line.slice(start));
  if (!match) return { ok: false, why: CUT };
  const [, bracketed, portText, query, nameText] = match;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  const parameters = new URLSearchParams(query!.replaceAll("+", "%2B"));
  const keyOf = (name: string) =>
    fromBase64url(parameters.get(name) ?? "", KEY_SIZE);
  const server = keyOf("server");
  const psk = keyOf("psk");
  const key = parameters.has("key") ? keyOf("key") : null;
  if (
    !server || !psk || (parameters.has("key") && !key) || port < 1 ||
    port > 65535
  ) return { ok: false, why: CUT };
  const then = parameters.get("then");
  const doh = parameters.get("doh");
  if (then !== null && !isWebUrl(then)) {
    return {
      ok: false,
      why: "The link leads to an address that is no website.",
    };
  }
  if (doh !== null && !/^https:\/\/[^\s]+$/i.test(doh)) {
    return { ok: false, why: "The resolver must be an https address." };
  }
  return {
    ok: true,
    enrolment: {
      name: decodeName(nameText!),
      host: bracketed!.replace(/^\[|\]$/g, ""),
      port,
      server,
      key,
      psk,
      at: (parameters.get("at") ?? "").split(",").filter(isAddress),
      doh,
      then,
      auto: parameters.get("auto") === "1",
      code: parameters.has("code"),
      seconds: readSeconds(parameters.get("for")),
    },
  };
}

/** Reports if a text is an IPv4 or IPv6 address in plain form. */
export function isAddress(text: string): boolean {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four) return four.slice(1).every((part) => Number(part) <= 255);
  const groups = text.split("::");
  const parts = groups.flatMap((half) => half === "" ? [] : half.split(":"));
  return groups.length <= 2 &&
    parts.every((one) => /^[0-9A-Fa-f]{1,4}$/.test(one)) &&
    (groups.length === 2 ? parts.length <= 7 : parts.length === 8);
}

/** Most seconds that a knock can ask for: 32 bits carry them. */
const MAX_SECONDS = 0xffff_ffff;

function readSeconds(text: string | null): number {
  const seconds = /^\d{1,10}$/.test(text ?? "") ? Number(text) : 0;
  return seconds <= MAX_SECONDS ? seconds : 0;
}

/** Only web addresses are followed: never javascript: or data:. */
function isWebUrl(text: string): boolean {
  return /^https?:\/\/[^\s]+$/i.test(text) && URL.canParse(text);
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Writes a time span as people read it: 1h59m, 4m05s, 12s. */
export function formatLeft(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (part: number) => String(part).padStart(2, "0");
  if (whole >= 3600) {
    return `${Math.floor(whole / 3600)}h${two(Math.floor(whole / 60) % 60)}m`;
  }
  return whole >= 60
    ? `${Math.floor(whole / 60)}m${two(whole % 60)}s`
    : `${whole}s`;
}

/** Reads the six digits of a one-time code; null if they are none. */
export function readCode(text: string): number | null {
  const digits = text.replace(/\s/g, "");
  return /^\d{6}$/.test(digits) ? Number(digits) : null;
}
