/**
 * fwknop's packets in OpenPGP: the same text, encrypted and signed by gpg,
 * which is a program: this file is pure, the runner of gpg is an argument.
 * @module
 */

import { concat, formatBareBase64 } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";
import { sha256 } from "../crypto/hash.ts";
import { type Opened, refuse, type Scene } from "../dialect.ts";
import { decodeMessage, encodeMessage } from "./message.ts";
import {
  FIRST_CHARACTERS,
  joinPacket,
  MAX_PACKET_SIZE,
  parseAscii,
  splitMac,
} from "./packet.ts";
import {
  type FwknopEnrolled,
  type FwknopGpgClient,
  type FwknopRequest,
  macLengthOf,
  readOpened,
  writeRequest,
} from "./request.ts";
import { FINGERPRINT, type FwknopKeys } from "./keys.ts";

/** Result of decrypting a message with gpg. */
export interface GpgOpened {
  readonly text: Uint8Array;
  /** Fingerprint of the primary key that signed it. */
  readonly signer: string;
}

/**
 * Decrypts a message, and checks its signature. Null when it is not one
 * encrypted and well signed message; "busy" when gpg has too much to do.
 */
export type OpenPgp = (
  home: string,
  message: Uint8Array,
) => Promise<GpgOpened | "busy" | null>;

/** Below so many characters without its HMAC, a packet is none of OpenPGP. */
const MIN_GPG_SIZE = 400;

/** Start of every message to an RSA key in base64, which fwknop omits. */
const LEFT_OUT = "hQ";
const LEFT_OUT_BYTES = new TextEncoder().encode(LEFT_OUT);

/** True if a packet could be an OpenPGP one: length, alphabet, first character. */
export function hasGpgForm(packet: Uint8Array): boolean {
  if (packet.length < MIN_GPG_SIZE || packet.length > MAX_PACKET_SIZE) {
    return false;
  }
  const text = String.fromCharCode(...packet);
  return /^[A-Za-z0-9+/]+$/.test(text) && !FIRST_CHARACTERS.includes(text[0]!);
}

/** The text that a client has gpg encrypt and sign. */
export function gpgText(
  request: FwknopRequest,
  digits: string,
  nowMs: number,
): Uint8Array<ArrayBuffer> {
  return concat(encodeMessage(writeRequest(request, digits, nowMs)));
}

/** Makes the packet of what gpg made of the text. Throws UsageError if it cannot be one. */
export function sealGpg(
  keys: Pick<FwknopKeys, "hmac">,
  message: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const text = formatBareBase64(message);
  if (!text.startsWith(LEFT_OUT)) {
    throw new UsageError(
      "fwknop's OpenPGP packets are encrypted for RSA keys alone",
      "make a key of that kind: gpg --quick-generate-key NAME rsa3072",
    );
  }
  const covered = new TextEncoder().encode(text);
  const packet = joinPacket(covered, keys.hmac, LEFT_OUT_BYTES);
  if (packet.length <= MAX_PACKET_SIZE) return packet;
  throw new UsageError(
    `a packet of fwknop's must have at most ${MAX_PACKET_SIZE} bytes, got ` +
      `"${packet.length}"`,
    "keys of 2048 or 3072 bits make shorter ones",
  );
}

/** The arguments of gpg that decrypt standard input; its status goes to standard error. */
export function decryptArguments(home: string): string[] {
  // deno-fmt-ignore
  return [
    ...common(home), "--pinentry-mode", "error",
    "--max-output", `${MAX_TEXT_SIZE}`, "--decrypt",
  ];
}

/** The arguments of gpg that encrypt and sign standard input, as armoured text. */
export function encryptArguments(
  home: string,
  recipient: string,
  signer: string,
): string[] {
  // deno-fmt-ignore
  return [
    ...common(home), "--armor", "--no-emit-version",
    "--recipient", recipient, "--local-user", signer, "--sign", "--encrypt",
  ];
}

/** No text is longer: what gpg unpacks from a few bytes may be. */
const MAX_TEXT_SIZE = 2048;

// Only the status lines of standard error are read: other lines of gpg may
// hold words of the message.
function common(home: string): string[] {
  // deno-fmt-ignore
  return [
    "gpg", "--homedir", home, "--batch", "--no-tty", "--no-options",
    "--no-auto-key-retrieve", "--trust-model", "always",
    "--status-fd", "2", "--logger-file", "/dev/null",
  ];
}

/**
 * The primary key that signed, by gpg's status lines: one message, encrypted,
 * not changed on the way, with one good signature. Null for anything else.
 */
export function readGpgSigner(status: string): string | null {
  const of = (word: string) =>
    status.split("\n").filter((line) =>
      line === `[GNUPG:] ${word}` || line.startsWith(`[GNUPG:] ${word} `)
    ).map((line) => line.split(" ").slice(2));
  const once = [
    "DECRYPTION_OKAY",
    "GOODMDC",
    "PLAINTEXT",
    "NEWSIG",
    "GOODSIG",
    "VALIDSIG",
  ];
  if (once.some((word) => of(word).length !== 1)) return null;
  // The last of its fields: the signing key may be a subkey.
  const signer = of("VALIDSIG")[0]![9];
  return signer !== undefined && FINGERPRINT.test(signer) ? signer : null;
}

/** Reads ASCII armour (RFC 9580 §6); null if it is none. */
export function readArmour(text: string): Uint8Array | null {
  const lines = text.split(/\r?\n/);
  const first = lines.indexOf("-----BEGIN PGP MESSAGE-----");
  const gap = lines.indexOf("", first);
  const last = lines.indexOf("-----END PGP MESSAGE-----", gap);
  if (first < 0 || gap < 0 || last < 0) return null;
  const body = lines.slice(gap + 1, last).filter((line) =>
    !line.startsWith("=")
  );
  try {
    return Uint8Array.fromBase64(body.join(""));
  } catch {
    return null;
  }
}

// Opening fwknop's packets in OpenPGP: the HMAC at once, the rest by gpg.

/**
 * Opens a packet in OpenPGP as far as that goes without gpg: a good HMAC, and
 * no copy. What is left to do is `later`.
 */
export function openGpg(
  packet: Uint8Array,
  scene: Scene,
  signers: readonly FwknopEnrolled<FwknopGpgClient>[],
  openPgp: OpenPgp,
): Opened {
  if (signers.length === 0) return refuse("form");
  if (!scene.mayCost()) return refuse("rate");
  const sealed = signers.flatMap((enrolled) => {
    const macLength = macLengthOf(enrolled.keys);
    if (packet.length - macLength < MIN_GPG_SIZE) return [];
    const split = splitMac(packet, macLength, LEFT_OUT_BYTES);
    const message = split && enrolled.proves(split) &&
      parseAscii(split.covered);
    return message ? [{ enrolled, message }] : [];
  });
  // Clients with an HMAC key are known by it; gpg identifies all others.
  const proved = sealed.find(({ enrolled }) => enrolled.mac);
  const candidates = proved ? [proved] : sealed;
  const [first] = candidates;
  if (!first) return refuse("mac");
  const identity = proved && sha256(first.message);
  if (identity && scene.seen(identity)) return refuse("replay");
  const later = async (): Promise<Opened> => {
    // One run of gpg for each keyring.
    const runs = new Map<string, ReturnType<OpenPgp>>();
    let refusal = refuse("cipher");
    for (const { enrolled: { name, keys }, message } of candidates) {
      const { gpg } = keys;
      const run = runs.get(gpg.home) ?? openPgp(gpg.home, message);
      runs.set(gpg.home, run);
      const opened = await run;
      if (opened === "busy") return refuse("busy");
      if (!opened) continue;
      if (!gpg.signers.includes(opened.signer)) {
        refusal = refuse("signature");
        continue;
      }
      const decoded = decodeMessage(opened.text);
      if (!decoded.ok) return refuse(decoded.why, name);
      // The same text may be packed in other ways: without an HMAC it counts.
      const mark = identity ?? sha256(opened.text);
      return readOpened(name, keys, decoded.message, mark, name);
    }
    return refusal;
  };
  return { ...refuse("busy", proved?.enrolled.name), later };
}
