/**
 * Explanation of an fwknop packet, step by step, for the person who asks why it
 * does not open: where one key or one setting is wrong, it is found out which.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import {
  DIGEST_TYPES,
  digestLength,
  type DigestType,
  hmac,
} from "../crypto/hash.ts";
import { counted } from "../../values/text.ts";
import type { Scene } from "../dialect.ts";
import {
  clientsOf,
  type ExplainSide,
  type Explanation,
  type Step,
  step,
} from "../keys.ts";
import { decrypt } from "./cipher.ts";
import { CIPHER_MODES, type CipherMode } from "./keys.ts";
import { hasGpgForm } from "./gpg.ts";
import {
  type Decoded,
  decodeMessage,
  type Message,
  MESSAGE_TYPES,
} from "./message.ts";
import { fwknopDialect } from "./open.ts";
import {
  FIRST_CHARACTERS,
  hasForm,
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  readSealed,
  type Split,
  splitPacket,
} from "./packet.ts";
import type { FwknopClient, FwknopGpgClient } from "./request.ts";

/** fwknop as `knock decode` uses it. */
export const fwknopExplain: ExplainSide = {
  hasForm,
  explain: (keys, packet, scene) =>
    explainFwknop(clientsOf(keys, "fwknop"), packet, scene),
  // Client and server have the same keys.
  recognise(profiles, packet, nowMs) {
    if (!hasForm(packet)) return null;
    const own = profiles.flatMap(({ name, fwknop }) =>
      fwknop && "key" in fwknop ? [{ ...fwknop, name }] : []
    );
    const scene = { nowMs, seen: () => false, mayCost: () => true };
    const { verdict, client, request, steps } = //
      explainFwknop(own, packet, scene);
    return { dialect: "fwknop", verdict, profile: client, request, steps };
  },
};

/** Explains a packet to the owner of these clients. Never throws. */
export function explainFwknop(
  all: readonly (FwknopClient | FwknopGpgClient)[],
  packet: Uint8Array,
  scene: Scene,
): Explanation {
  const opened = fwknopDialect(all).open(packet, scene);
  const verdict = opened.ok ? "request" : opened.why;
  const proved = opened.ok ? opened.request.client : opened.client ?? null;
  const request = opened.ok ? opened.request : null;
  if (hasGpgForm(packet) && all.some((client) => "gpg" in client)) {
    const proof = step(
      proved !== null,
      `the HMAC is of the key of "${proved}"`,
      "no HMAC key of a client in OpenPGP fits",
    );
    const sealed =
      "what it asks takes gpg to open, which the server alone runs";
    const steps = [
      step(true, "has the form of fwknop's packets in OpenPGP"),
      ...opened.ok || verdict === "busy" && proved === null ? [] : [proof],
      ...verdict === "busy" ? [step(false, sealed)] : [],
    ];
    return { verdict, client: proved, request, fields: null, steps };
  }
  const clients = all.filter((client) => "key" in client);
  if (!hasForm(packet)) {
    const steps = [step(false, explainForm(packet))];
    return { verdict, client: null, request, fields: null, steps };
  }
  const size = `${packet.length} characters of base64`;
  const steps = [step(true, `has fwknop's form: ${size}`)];
  const found = clients
    // Who is known to have sent it comes first, and then ends the search.
    .toSorted((a, b) => Number(b.name === proved) - Number(a.name === proved))
    .map((client) => inspect(client, packet))
    .find(({ mac, read }) => mac || read);
  if (!found) {
    const count = counted(clients.length, "client");
    steps.push(step(false, `no HMAC key and no passphrase of ${count} fits`));
    return { verdict, client: null, request, fields: null, steps };
  }
  const { client, mac, read } = found;
  steps.push(stepOfMac(client, mac), stepOfCipher(client, read));
  const message = read?.decoded.ok ? read.decoded.message : null;
  if (read) steps.push(stepOfMessage(message, opened.ok, verdict));
  return {
    verdict,
    client: proved ?? client.name,
    request,
    fields: message && read && fieldsOf(message, mac, read.mode),
    steps,
  };
}

/** A text that the passphrase decrypts. */
type Read = { readonly mode: CipherMode; readonly decoded: Decoded };

/** Tries one client's keys on a packet, whatever its settings; `mac` is the type of the HMAC that holds. */
function inspect(client: FwknopClient, packet: Uint8Array) {
  const splits = new Map<DigestType | null, Split>();
  for (const type of [null, ...DIGEST_TYPES]) {
    const split = splitPacket(packet, type === null ? 0 : digestLength(type));
    if (split) splits.set(type, split);
  }
  const mac = client.hmac &&
    (DIGEST_TYPES.find((type) => {
      const split = splits.get(type);
      return split &&
        timingSafeEqual(hmac(type, client.hmac!.key)(split.covered), split.mac);
    }) ?? null);
  const modes = [client.mode, ...CIPHER_MODES];
  const candidates = mac ? [splits.get(mac)!] : [...splits.values()];
  for (const { covered } of candidates) {
    const sealed = readSealed(covered);
    if (!sealed) continue;
    for (const mode of modes) {
      const { salt, ciphertext } = sealed;
      const text = decrypt(mode, client.key, salt, ciphertext);
      const decoded = decodeMessage(text);
      if (decoded.ok || decoded.why !== "cipher") {
        return { client, mac, read: { mode, decoded } };
      }
    }
  }
  return { client, mac, read: null };
}

function explainForm(packet: Uint8Array): string {
  const { length } = packet;
  if (length < MIN_PACKET_SIZE || length > MAX_PACKET_SIZE) {
    return `has ${length} bytes, not ${MIN_PACKET_SIZE} to ${MAX_PACKET_SIZE}`;
  }
  const at = packet.findIndex((byte) =>
    !/[A-Za-z0-9+/]/.test(String.fromCharCode(byte))
  );
  if (at >= 0) return `is not base64 alone: byte ${at} is ${packet[at]}`;
  return `does not start with one of ${[...FIRST_CHARACTERS].join(" ")}`;
}

function stepOfMac(
  { name, hmac: own }: FwknopClient,
  mac: DigestType | null,
): Step {
  if (!own) return step(true, `"${name}" is set to use no HMAC`);
  if (!mac) return step(false, `the HMAC is not of the key of "${name}"`);
  const held = `the HMAC ${mac} is of the key of "${name}"`;
  const wrong = `${held}, but the server is set to ${own.type}`;
  return step(mac === own.type, held, wrong);
}

function stepOfCipher({ name, mode }: FwknopClient, read: Read | null): Step {
  if (!read) {
    return step(false, `the passphrase of "${name}" does not decrypt it`);
  }
  const held = `the passphrase of "${name}" decrypts it in mode ${read.mode}`;
  const wrong = `${held}, but the server is set to ${mode}`;
  return step(read.mode === mode, held, wrong);
}

function stepOfMessage(
  message: Message | null,
  ok: boolean,
  verdict: Explanation["verdict"],
): Step {
  if (!message) return step(false, "the fields are malformed");
  const kind = MESSAGE_TYPES[message.type]!.name;
  const asks = `asks for ${kind}: "${message.text}"`;
  const wrong = `${asks}, which has no meaning here`;
  return step(ok || verdict !== "payload", asks, wrong);
}

function fieldsOf(
  message: Message,
  mac: DigestType | null,
  mode: CipherMode,
): Record<string, string | number> {
  return {
    digits: message.digits,
    user: message.user,
    version: message.version,
    message_type: message.type,
    message_kind: MESSAGE_TYPES[message.type]!.name,
    message: message.text,
    ...message.nat !== null && { nat_access: message.nat },
    ...message.serverAuth !== null && { server_auth: message.serverAuth },
    ...message.timeout !== null && { client_timeout: message.timeout },
    checksum: message.checksum,
    hmac: mac ?? "none",
    mode,
  };
}
