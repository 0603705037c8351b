/**
 * The dialect of OpenSPA, version 2: signed and encrypted requests of at most
 * 1444 bytes, and a response to those that are granted.
 *
 * What a packet that proves nothing costs one core of a small machine with
 * RSA-2048, Deno (Bun), by bench/dialects.ts: with a wrong ADK proof 0.1 us;
 * with a right one, or where none is wanted, 1.5 ms (0.5 ms) for the RSA, and
 * with 4096 bits about six times that. So a server that strangers can reach
 * wants the proof. A copy of an authentic packet costs 15 us (8 us), a reply
 * as much as a request.
 * @module
 */

import type { KeyObject } from "node:crypto";
import { UsageError } from "../../values/errors.ts";
import type { PortRange } from "../../values/ports.ts";
import { sha256 } from "../crypto/hash.ts";
import { SessionOpener } from "../crypto/rsa.ts";
import {
  type Answer,
  type Dialect,
  type Opened,
  refuse,
  type Scene,
  type Sealed,
} from "../dialect.ts";
import type { SharedKeys } from "../keys.ts";
import { adkCheck, adkProof } from "./adk.ts";
import type { OpenspaClientKeys, OpenspaProfileKeys } from "./keys.ts";
import {
  type Header,
  isSigned,
  openEnvelope,
  readHeader,
  sealEnvelope,
  writeHeader,
} from "./envelope.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  type OpenspaRequest,
} from "./payload.ts";
/** Most bytes of a packet. */
export const MAX_PACKET_SIZE = 1444;
/** Least bytes of a packet: a session and a signature of RSA-2048. */
export const MIN_PACKET_SIZE = 528;
/** The UDP port that OpenSPA's clients knock at. */
export const OPENSPA_PORT = 22211;

/** The one version and suite that are spoken here. */
const OURS = { version: 2, suite: 1 } as const;
/** The first byte of a request of version 2. */
const REQUEST_CONTROL = 0x20;

/** A client as the dialect knows it. No two clients share a UUID. */
export interface OpenspaClient extends OpenspaClientKeys {
  readonly name: string;
}

/** Keys of a client, for sealing. */
export interface OpenspaKeys extends OpenspaProfileKeys {
  /** 32 fresh random bytes for every packet, a retry too. */
  readonly random: Uint8Array;
}

/**
 * Makes the server's side: its RSA private key, its clients, the secret of the
 * ADK proof, 4 bytes, or null where none is wanted, and the clients that are
 * not in memory.
 */
export function openspaDialect(
  serverPrivate: KeyObject,
  clients: readonly OpenspaClient[],
  adkSecret: Uint8Array | null,
  shared: SharedKeys | null = null,
): Dialect {
  const opener = new SessionOpener(serverPrivate);
  const isProof = adkSecret && adkCheck(adkSecret);
  const enrolled = new Map(
    clients.map((client) => [client.uuid.toHex(), client]),
  );

  const findShared = (uuid: Uint8Array): OpenspaClient | null => {
    const found = shared?.find("openspa", uuid);
    return found?.openspa ? { ...found.openspa, name: found.name } : null;
  };

  function open(bytes: Uint8Array, scene: Scene): Opened {
    const { nowMs, seen, mayCost } = scene;
    if (!fits(bytes)) return refuse("length");
    const header = readHeader(bytes)!;
    if (bytes[0] !== REQUEST_CONTROL || header.suite !== OURS.suite) {
      return refuse("version");
    }
    if (isProof && !isProof(header.adkProof, nowMs)) {
      return refuse("adk");
    }
    const letter = openEnvelope(bytes, opener, mayCost);
    if (typeof letter === "string") return refuse(letter);
    const asked = decodeRequest(letter.packet);
    if (!asked) return refuse("payload");
    const client = enrolled.get(asked.uuid.toHex()) ?? findShared(asked.uuid);
    if (!client) return refuse("unknown client");
    // Not over the nonce, which is not signed: whoever is on the path could
    // change a long one, and make a copy look new.
    const identity = sha256(letter.signed);
    if (seen(identity)) return refuse("replay");
    if (!isSigned(letter, client.key)) return refuse("signature");
    opener.keep(letter.sealedSession, letter.session);
    return {
      ok: true,
      request: {
        dialect: "openspa",
        client: client.name,
        action: "open",
        ports: "ports" in asked ? [asked.ports] : [],
        ..."protocol" in asked && { protocol: asked.protocol },
        command: null,
        seconds: 0,
        timestampMs: asked.timestampMs,
        address: asked.address,
        code: null,
        identity,
        wantsReply: true,
        target: asked.target,
      },
      // OpenSPA's server answers what it granted, and its client takes any
      // answer for a grant: to a refusal there is none.
      seal: (answer, random) =>
        answer.status === "done" && "ports" in asked
          ? sealReply(header, asked, answer, serverPrivate, client.key, random)
          : NOTHING,
    };
  }

  return {
    name: "openspa",
    recognises: (bytes) => fits(bytes) && bytes[0] === REQUEST_CONTROL,
    open,
  };
}

/**
 * Seals a request made at `nowMs`, Unix milliseconds. OpenSPA names one port
 * or range, the client's address and the service's. A response bears no time:
 * `timeMs` is 0. Throws UsageError for addresses that are none.
 */
export function sealOpenspa(
  keys: OpenspaKeys,
  request: Pick<OpenspaRequest, "ports" | "address" | "target">,
  nowMs: number,
): Sealed {
  const [transaction] = sha256(keys.random);
  const header = writeHeader({
    ...OURS,
    type: "request",
    transaction: transaction!,
    adkProof: keys.adk_secret ? adkProof(keys.adk_secret, nowMs) : 0,
  });
  const asked = { ...request, timestampMs: nowMs, uuid: keys.uuid };
  const packet = sealEnvelope(
    header,
    encodeRequest(asked),
    keys.key,
    keys.server,
    keys.random,
  );
  if (packet.length > MAX_PACKET_SIZE) {
    throw new UsageError(
      `the packet must have at most ${MAX_PACKET_SIZE} bytes, got "${packet.length}"`,
      "use shorter RSA keys",
    );
  }
  return {
    packet,
    openReply: (bytes) => openReply(bytes, transaction!, asked, keys),
  };
}

function fits(bytes: Uint8Array): boolean {
  return bytes.length >= MIN_PACKET_SIZE && bytes.length <= MAX_PACKET_SIZE;
}

function sealReply(
  { transaction }: Header,
  { ports, target }: OpenspaRequest,
  { seconds }: Answer,
  sender: KeyObject,
  receiver: KeyObject,
  random: Uint8Array,
): Uint8Array {
  const type = "response";
  const header = writeHeader({ ...OURS, type, transaction, adkProof: 0 });
  const packet = encodeResponse({ ports, target, seconds });
  return sealEnvelope(header, packet, sender, receiver, random);
}

function openReply(
  bytes: Uint8Array,
  transaction: number,
  asked: Pick<OpenspaRequest, "ports" | "address" | "target">,
  keys: OpenspaKeys,
): Answer | null {
  const header = readHeader(bytes);
  if (bytes.length > MAX_PACKET_SIZE || header?.type !== "response") {
    return null;
  }
  const { version, suite } = header;
  if (version !== OURS.version || suite !== OURS.suite) return null;
  if (header.transaction !== transaction) return null;
  const letter = openEnvelope(bytes, new SessionOpener(keys.key));
  if (typeof letter === "string" || !isSigned(letter, keys.server)) return null;
  const said = decodeResponse(letter.packet);
  if (!said || !samePorts(said.ports, asked.ports)) return null;
  return {
    status: said.seconds > 0 ? "done" : "refused",
    count: said.seconds > 0 ? asked.ports.last - asked.ports.first + 1 : 0,
    seconds: said.seconds,
    timeMs: 0,
    address: asked.address,
  };
}

const NOTHING = new Uint8Array(0);

function samePorts(a: PortRange, b: PortRange): boolean {
  return a.protocol === b.protocol && a.first === b.first && a.last === b.last;
}
