/**
 * An enrolment: one line that carries all a client needs from the server's
 * side to its own, `knock://HOST:PORT/?server=PUBLIC43&key=PRIVATE43&psk=PSK43#NAME`.
 * It holds secrets, so no message ever repeats a part of it but names.
 * @module
 */

import { parseCodeSecret } from "../../dialects/crypto/codes.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseEndpoint,
} from "../../values/address.ts";
import { formatBase64url, parseBase64 } from "../../values/bytes.ts";
import { caught, UsageError } from "../../values/errors.ts";
import { counted } from "../../values/text.ts";
import { ASK_CODE } from "./profile.ts";

/** Address and keys that a server gives to one client. Contains secrets. */
export interface Enrolment extends Endpoint {
  /** Name of the client on the server, and of the profile by default. */
  readonly name: string;
  /** X25519 public key of the server, 32 bytes. */
  readonly server: Uint8Array;
  /** X25519 private key of the client, 32 bytes; null if the client generated its own. */
  readonly key: Uint8Array | null;
  /** Pre-shared key, 32 bytes. */
  readonly psk: Uint8Array;
  /** Secret of one-time codes, in base32, if the client needs them; "ask": it is asked for each. */
  readonly code?: string;
}

/** Bytes of a key or psk, and its characters in base64url. */
const KEY_SIZE = 32;
const KEY_CHARACTERS = 43;

/** The last ones are for a browser, in what `client add --web` prints. */
const PARAMETERS = "server key psk code at doh then auto for".split(" ");

const SCHEME = "knock://";
/** Far more than the longest enrolment. */
const MAX_CHARACTERS = 2048;
const MAX_NAME = 64;

const WHOLE =
  "copy the whole line, from knock:// to the name after the #, and put it " +
  "in single quotes: a shell cuts it at the first &";

function broken(text: string): UsageError {
  return new UsageError(text, WHOLE);
}

/**
 * Writes an enrolment as one line, `knock://HOST:PORT/?server=…&key=…&psk=…#NAME`,
 * without a newline at its end. Keys are base64url without padding.
 *
 * @example
 * ```ts
 * import { formatEnrolment, parseEnrolment } from "@knock/knock";
 * import { assertEquals } from "@std/assert";
 *
 * const enrolment = {
 *   name: "laptop",
 *   host: "home.example.org",
 *   port: 62201,
 *   server: new Uint8Array(32).fill(1),
 *   key: new Uint8Array(32).fill(2),
 *   psk: new Uint8Array(32).fill(3),
 * };
 * assertEquals(parseEnrolment(formatEnrolment(enrolment)), enrolment);
 * ```
 */
export function formatEnrolment(enrolment: Enrolment): string {
  const { name, server, key, psk, code } = enrolment;
  const parameters = [`server=${formatBase64url(server)}`];
  if (key) parameters.push(`key=${formatBase64url(key)}`);
  parameters.push(`psk=${formatBase64url(psk)}`);
  if (code !== undefined) parameters.push(`code=${code}`);
  return `${SCHEME}${formatEndpoint(enrolment)}/?${parameters.join("&")}#` +
    encodeURIComponent(name);
}

/** The address of the page before an enrolment, up to its "#". */
const PAGE = /^(?:https?|file):[^#]*#(?=knock:)/i;

/** True if a text is meant as an enrolment, not as the path of a file. */
export function looksLikeEnrolment(text: string): boolean {
  return /^knock:/i.test(joined(text).replace(PAGE, ""));
}

/**
 * Reads the line that {@linkcode formatEnrolment} writes, also if it was wrapped
 * into several lines or put in quotes on its way. Ignores what is a browser's:
 * the page before it, and parameters that the page alone uses. Throws
 * {@linkcode UsageError} with a message for each mistake, and no secret in any
 * message.
 *
 * @example
 * ```ts
 * import { parseEnrolment, UsageError } from "@knock/knock";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const key = "A".repeat(43);
 * const line = `knock://192.0.2.1:62201/?server=${key}&key=${key}&psk=${key}#laptop`;
 * const { name, host, port } = parseEnrolment(line);
 * assertEquals({ name, host, port }, {
 *   name: "laptop",
 *   host: "192.0.2.1",
 *   port: 62201,
 * });
 * assertThrows(() => parseEnrolment("knock://192.0.2.1"), UsageError);
 * ```
 */
export function parseEnrolment(text: string): Enrolment {
  text = joined(text).replace(PAGE, "");
  if (text === "") throw broken("the enrolment is empty");
  if (!text.startsWith(SCHEME)) {
    throw broken('the enrolment must start with "knock://"');
  }
  if (text.length > MAX_CHARACTERS) {
    throw new UsageError(
      `the enrolment has ${text.length} characters, wanted at most ${MAX_CHARACTERS}`,
    );
  }
  const match = /^([^/?#]*)(\/?)(\??)([^#]*)(#?)(.*)$/s
    .exec(text.slice(SCHEME.length))!;
  const [, authority, slash, question, query, hash, fragment] = match;
  const endpoint = readEndpoint(authority!);
  if (!slash || !question) {
    throw broken(
      'the enrolment has no "/?" after its server: it was cut short or changed',
    );
  }
  const parameters = readParameters(query!);
  if (!hash || !fragment) {
    throw broken(
      "the enrolment ends before the client's name: it was cut short",
    );
  }
  const server = readKey(parameters, "server");
  const key = parameters.has("key") ? readKey(parameters, "key") : null;
  const psk = readKey(parameters, "psk");
  const name = readName(fragment);
  const code = parameters.get("code");
  if (code === undefined) return { ...endpoint, name, server, key, psk };
  if (code !== ASK_CODE && !parseCodeSecret(code)) {
    throw broken(
      `the enrolment's code must be 16 to 128 characters of base32, got ${
        counted(code.length, "character")
      }`,
    );
  }
  return { ...endpoint, name, server, key, psk, code };
}

/** Characters that a mail or a shell may have put around an enrolment. */
const AROUND = /^[\s'"\u2018-\u201f<>`$]+|[\s'"\u2018-\u201f<>`]+$/g;

/** One line of a text that was quoted or wrapped on its way, up to a line of words or none. */
function joined(text: string): string {
  const lines = text.replace(AROUND, "").split("\n")
    .map((line) => line.replace(/^[\s>|]+/, "").trim());
  const end = lines.findIndex((line, at) => at > 0 && /^$|\s/.test(line));
  return lines.slice(0, end < 0 ? undefined : end).join("")
    .replace(/\s+/g, "").replace(AROUND, "");
}

/** True if a text is an enrolment up to its end, or no enrolment at all. */
export function isWholeEnrolment(text: string): boolean {
  return !looksLikeEnrolment(text) || /#./.test(joined(text));
}

function readEndpoint(authority: string): Endpoint {
  // What stands before an @ could be a password: it is not repeated.
  const shown = authority.replace(/^.*@/s, "…@");
  if (authority === "") throw broken("the enrolment names no server");
  const endpoint = parseEndpoint(authority);
  if (!endpoint || endpoint.port === 0) {
    throw broken(
      `the enrolment's server must be HOST:PORT or [IPV6]:PORT, got "${shown}"`,
    );
  }
  return endpoint;
}

function readParameters(query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of query === "" ? [] : query.split("&")) {
    const [name = "", ...value] = part.split("=");
    if (!PARAMETERS.includes(name)) {
      // A longer word may be a key whose name got lost.
      const shown = /^[a-z_]{1,12}$/.test(name) ? ` "${name}"` : "";
      throw new UsageError(
        `the enrolment has an unknown parameter${shown}`,
        shown ? "it may be of a newer knock: update this one" : WHOLE,
      );
    }
    if (found.has(name)) throw broken(`the enrolment has "${name}" twice`);
    found.set(name, value.join("="));
  }
  return found;
}

function readKey(
  parameters: ReadonlyMap<string, string>,
  name: string,
): Uint8Array {
  const text = parameters.get(name);
  if (text === undefined) throw broken(`the enrolment has no "${name}"`);
  if (text.length !== KEY_CHARACTERS) {
    throw broken(
      `the enrolment's ${name} must have ${KEY_CHARACTERS} characters, got ${text.length}`,
    );
  }
  const bytes = parseBase64(text, { alphabet: "base64url", size: KEY_SIZE });
  if (!bytes) {
    throw broken(
      `the enrolment's ${name} is not base64url: a character was changed`,
    );
  }
  return bytes;
}

function readName(fragment: string): string {
  const name = caught(URIError, () => decodeURIComponent(fragment), () => {
    throw broken("the client's name after the # is not well percent-encoded");
  });
  const visible = name.replaceAll(" ", "");
  if (
    visible === "" || name.length > MAX_NAME || /[\p{C}\p{Z}]/u.test(visible)
  ) {
    throw broken(
      `the client's name after the # must be 1 to ${MAX_NAME} visible characters`,
    );
  }
  return name;
}
