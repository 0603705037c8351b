/** Sealing in fwknop, and what a new client gets. */

import { formatEndpoint, parseAddress } from "../../values/address.ts";
import { failing, FailureError, UsageError } from "../../values/errors.ts";
import { encrypt } from "./cipher.ts";
import { encryptArguments, gpgText, readArmour, sealGpg } from "./gpg.ts";
import type {
  FwknopKeys,
  FwknopProfileGpg,
  FwknopProfileKeys,
} from "./keys.ts";
import { DIGITS_SIZE, encodeMessage, type Message } from "./message.ts";
import {
  joinPacket,
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  writeSealed,
} from "./packet.ts";
import { type FwknopRequest, writeRequest } from "./request.ts";
import type { NewRequest, Sealed, Sealer, SealOptions } from "../dialect.ts";
import type { Enrolling, NewKeys } from "../keys.ts";
import { formatPortRange } from "../../values/ports.ts";

/** Number of random bytes that {@linkcode fwknopRandom} takes. */
export const RANDOM_SIZE = 16;

/** Makes what is fresh in a packet, a salt of 8 bytes and 16 decimal digits, from 16 random bytes. */
export function fwknopRandom(random: Uint8Array) {
  const view = new DataView(random.buffer, random.byteOffset, RANDOM_SIZE);
  const number = view.getBigUint64(8) % 10n ** BigInt(DIGITS_SIZE);
  return {
    salt: random.slice(0, 8),
    digits: `${number}`.padStart(DIGITS_SIZE, "0"),
  };
}

/**
 * Seals a packet made at `nowMs`, Unix milliseconds: 140 to 1500 bytes of
 * base64. Throws UsageError for a request that fwknop cannot express.
 */
export function sealFwknop(
  keys: FwknopKeys,
  request: FwknopRequest,
  { salt, digits }: { readonly salt: Uint8Array; readonly digits: string },
  nowMs: number,
): Uint8Array<ArrayBuffer> {
  return sealMessage(keys, writeRequest(request, digits, nowMs), salt);
}

/** Seals any message. For tests and tools; others use {@linkcode sealFwknop}. */
export function sealMessage(
  keys: FwknopKeys,
  message: Message,
  salt: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const text = encodeMessage(message);
  const covered = writeSealed(salt, encrypt(keys.mode, keys.key, salt, text));
  const packet = joinPacket(covered, keys.hmac);
  if (packet.length < MIN_PACKET_SIZE || packet.length > MAX_PACKET_SIZE) {
    throw new UsageError(
      `a packet of fwknop's must have ${MIN_PACKET_SIZE} to ` +
        `${MAX_PACKET_SIZE} bytes, got "${packet.length}"`,
    );
  }
  return packet;
}

/** A person may have to type a passphrase. */
const GPG_MS = 120_000;

/** Seals fwknop's packets with a profile's keys. */
export function fwknopSealer(keys: FwknopProfileKeys): Sealer {
  const openReply = () => null;
  return {
    dialect: "fwknop",
    answers: false,
    seal(ask, circumstances): Sealed | Promise<Sealed> {
      const request = readNewRequest(ask, keys);
      const { nowMs, random } = circumstances;
      const fresh = fwknopRandom(random(RANDOM_SIZE));
      if ("key" in keys) {
        return { packet: sealFwknop(keys, request, fresh, nowMs), openReply };
      }
      const text = gpgText(request, fresh.digits, nowMs);
      return encryptByGpg(keys.gpg, text, circumstances)
        .then((message) => ({ packet: sealGpg(keys, message), openReply }));
    },
  };
}

function readNewRequest(
  { action, ports, command, seconds, address, code, forward }: NewRequest,
  { user, digest, forward: always }: FwknopProfileKeys,
): FwknopRequest {
  if (action !== "open" && action !== "run") {
    throw new UsageError(`fwknop can only open and run, got "${action}"`);
  }
  if (code !== null) {
    throw new UsageError("fwknop cannot carry a one-time code");
  }
  // deno-fmt-ignore
  return {
    action, ports, command, seconds, address, user, checksum: digest,
    forward: forward ?? always,
  };
}

async function encryptByGpg(
  { home, recipient, signer }: FwknopProfileGpg,
  text: Uint8Array,
  { run }: SealOptions,
): Promise<Uint8Array> {
  const failed = (why: string) =>
    new FailureError(
      `gpg did not encrypt: ${why}`,
      `are "${recipient}" and the secret key "${signer}" in ${home}?`,
    );
  const argv = encryptArguments(home, recipient, signer);
  const { code, stdout, stderr } = await failing(
    "gpg cannot be run",
    () => run(argv, { stdin: text, timeoutMs: GPG_MS }),
    "apt install gnupg, or use a profile with a passphrase",
  );
  const message = code === 0 ? readArmour(stdout) : null;
  if (message) return message;
  const status = stderr.split("\n").find((line) =>
    /INV_|FAILURE|ERROR/.test(line)
  );
  throw failed(status?.replace("[GNUPG:] ", "") ?? `it ended with ${code}`);
}

// A new client: its keys, and the stanza for its `.fwknoprc`.

/** Bytes of keys as `fwknop --key-gen` makes them. */
const NEW_KEY_SIZE = 32;
const NEW_HMAC_KEY_SIZE = 64;
/** The UDP port that fwknop's clients knock at. */
const FWKNOP_PORT = 62201;

/** Makes the keys of a client, and what goes to it. */
export function enrolFwknop(asked: Enrolling): NewKeys {
  if (asked.key !== undefined) {
    throw new UsageError(
      "--key is for public keys, and fwknop's keys are shared",
      "leave it out: new keys are made",
    );
  }
  const server = asked.server(FWKNOP_PORT);
  const key = asked.random(NEW_KEY_SIZE).toBase64();
  const hmacKey = asked.random(NEW_HMAC_KEY_SIZE).toBase64();
  const access = asked.ports.filter(({ first, last }) => first === last)
    .map(formatPortRange);
  const host = parseAddress(server.host) === null
    ? server.host
    : formatEndpoint({ ...server, port: 0 }).replace(/:0$/, "");
  const stanza = [
    `[${asked.name}]`,
    `SPA_SERVER          ${host}`,
    `SPA_SERVER_PORT     ${server.port}`,
    ...access.length > 0 ? [`ACCESS              ${access.join(",")}`] : [],
    "ALLOW_IP            source",
    `KEY_BASE64          ${key}`,
    `HMAC_KEY_BASE64     ${hmacKey}`,
    "HMAC_DIGEST_TYPE    SHA256",
    "USE_HMAC            Y",
  ];
  return {
    keys: `fwknop: { key_base64: "${key}", hmac_key_base64: "${hmacKey}" }`,
    server,
    files: [],
    out: stanza.map((line) => `${line}\n`).join(""),
    qr: null,
    hints: [
      `the stanza goes to the client's ~/.fwknoprc (mode 0600); then: ` +
      `fwknop -n ${asked.name}`,
    ],
  };
}
