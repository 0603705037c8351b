/**
 * The dialect knock/1: one datagram of 216 bytes that passes three gates, and
 * a reply of 80 bytes. The specification is `docs/protocol.md`, "Protocol" here.
 * @module
 */

import { type KeyObject, timingSafeEqual } from "node:crypto";
import { webSide } from "./web/form.ts";
import { looksLikeCheck } from "./web/stun.ts";
import {
  agree,
  importPublicKey,
  KEY_SIZE,
  keyPairOf,
} from "../crypto/curve25519.ts";
import {
  type Answer,
  type Dialect,
  type Opened,
  refuse,
  type Scene,
} from "../dialect.ts";
import {
  begin,
  type HandshakeState,
  readMessage1,
  writeMessage2,
} from "./noise.ts";
import { decodeKnock, encodeReply } from "./payload.ts";
import { currentTags, MAC_AT, macOf, PACKET_SIZE, TAG_SIZE } from "./tag.ts";

/** Made once: a flood of wrong tags makes no garbage. */
const WRONG_TAG = refuse("tag");

/** Name and keys of an enrolled client, on the server. */
export interface Knock1Client {
  /** Name that {@linkcode Request.client} carries. */
  readonly name: string;
  /** X25519 public key of the client, 32 bytes. No two clients share one. */
  readonly key: Uint8Array;
  /** Pre-shared key, 32 bytes, different for each client. */
  readonly psk: Uint8Array;
  /** Permission to knock from a browser; absent: no. */
  readonly web?: boolean;
}

/**
 * Creates the server's side of knock/1 (docs/protocol.md §6, steps 1 to 5). Its
 * `open` authenticates a packet; the caller then checks the time stamp
 * ({@linkcode isTimely}), the replay (`request.identity`) and the policy
 * ({@linkcode judge}).
 *
 * @param serverPrivate X25519 private key of the server, 32 bytes.
 * @param clients Enrolled clients; of two with the same key the last one counts.
 * @param maxSkewMs Largest accepted difference of clocks, milliseconds.
 * @param shared Clients that are kept elsewhere, asked for keys of no enrolled one.
 *
 * @example
 * ```ts
 * import { knock1Dialect, publicKeyOf, sealKnock } from "@knock/knock/protocol";
 * import { assertEquals } from "@std/assert";
 *
 * const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));
 * const [serverKey, clientKey, psk] = [random(32), random(32), random(32)];
 * const nowMs = Date.now();
 * const sealed = sealKnock(
 *   { server: publicKeyOf(serverKey), key: clientKey, psk, ephemeral: random(32) },
 *   {
 *     action: "open",
 *     ports: [{ protocol: "tcp", first: 22, last: 22 }],
 *     command: null,
 *     seconds: 0,
 *     address: null,
 *     code: null,
 *     wantsReply: true,
 *   },
 *   nowMs,
 * );
 *
 * const clients = [{ name: "laptop", key: publicKeyOf(clientKey), psk }];
 * const dialect = knock1Dialect(serverKey, clients, 120_000);
 * const scene = { nowMs, seen: () => false, mayCost: () => true };
 * const opened = dialect.open(sealed.packet, scene);
 * if (!opened.ok) throw new Error(opened.why);
 * assertEquals(opened.request.client, "laptop");
 *
 * const answer = {
 *   status: "done",
 *   count: 1,
 *   seconds: 3600,
 *   timeMs: nowMs,
 *   address: "192.0.2.7",
 * } as const;
 * const reply = opened.seal(answer, random(32));
 * assertEquals(sealed.openReply(reply), answer);
 * ```
 */
export function knock1Dialect(
  serverPrivate: Uint8Array,
  clients: readonly Knock1Client[],
  maxSkewMs: number,
  shared?: {
    readonly hasWeb: boolean;
    find(key: Uint8Array): Knock1Client | null;
  },
): Dialect {
  const own = keyPairOf(serverPrivate);
  const mac = macOf(own.publicKey);
  const enrolled = new Map(
    clients.map((one) => [one.key.toHex(), enrol(one, own.secret)]),
  );
  const find = (key: Uint8Array) => {
    const known = enrolled.get(key.toHex());
    if (known || !shared) return known ?? null;
    const found = shared.find(key);
    return found && enrol(found, own.secret);
  };
  const web = shared?.hasWeb || clients.some((client) => client.web)
    ? webSide(own, maxSkewMs, (key) => {
      const client = find(key);
      return client?.web ? client : null;
    })
    : null;
  const findTag = currentTags(
    own.publicKey,
    maxSkewMs,
    (tag) => begin(tag, own.publicKey),
  );

  // Protocol §6, steps 1 to 5; the later ones are the judge's.
  function open(packet: Uint8Array, scene: Scene): Opened {
    if (packet.length !== PACKET_SIZE) {
      return web?.(packet, scene) ?? refuse("length");
    }
    const begun = findTag(packet, scene.nowMs);
    if (!begun) return WRONG_TAG;
    const proof = mac(packet.subarray(0, MAC_AT));
    if (!timingSafeEqual(proof, packet.subarray(MAC_AT))) return refuse("mac");
    // A copy: slice() of a Buffer would be a view of what the next packet fills.
    const identity = new Uint8Array(
      packet.subarray(TAG_SIZE, TAG_SIZE + KEY_SIZE),
    );
    // A copy of an accepted packet costs this look-up and no more.
    if (scene.seen(identity)) return refuse("replay");
    if (!scene.mayCost()) return refuse("rate");

    const message = packet.subarray(TAG_SIZE, MAC_AT);
    const read = readMessage1(begun, own, message, find);
    if (!read.ok) {
      if (read.why === "unknown") return refuse("unknown client");
      return refuse("noise", read.initiator?.name);
    }
    const client = read.initiator.name;
    const knock = decodeKnock(read.payload);
    if (!knock) return refuse("payload", client);
    const theirs = {
      ephemeral: read.ephemeral,
      static: read.initiator.publicKey,
    };
    return {
      ok: true,
      request: { dialect: "knock", client, ...knock, identity },
      seal: (answer, random) => sealReply(read.chain, theirs, answer, random),
    };
  }

  return {
    name: "knock",
    recognises: (packet) =>
      packet.length === PACKET_SIZE || web !== null && looksLikeCheck(packet),
    answersAgain: (packet) => packet.length !== PACKET_SIZE,
    open,
  };
}

/** Enrols a client; the shared secret of both static keys is computed once. */
function enrol(client: Knock1Client, serverSecret: KeyObject) {
  const key = new Uint8Array(client.key);
  let publicKey: KeyObject | undefined;
  let shared: Uint8Array | null | undefined;
  return {
    name: client.name,
    psk: new Uint8Array(client.psk),
    web: client.web ?? false,
    get publicKey() {
      return publicKey ??= importPublicKey(key);
    },
    staticSecret() {
      if (shared === undefined) shared = agree(serverSecret, this.publicKey);
      return shared;
    },
  };
}

function sealReply(
  chain: HandshakeState,
  theirs: { readonly ephemeral: KeyObject; readonly static: KeyObject },
  answer: Answer,
  random: Uint8Array,
): Uint8Array {
  const payload = encodeReply(answer);
  const sent = writeMessage2(chain, keyPairOf(random), theirs, payload);
  // Both public keys agreed to something with the server's in message 1.
  if (!sent) throw new Error("a key of low order came through message 1");
  return sent.message;
}
