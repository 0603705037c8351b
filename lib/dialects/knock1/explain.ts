/**
 * Explanation of a knock/1 packet, check by check, for the person who asks why it
 * does not open: the server's view, and a client's.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { formatBase64url } from "../../values/bytes.ts";
import { keyPairOf } from "../crypto/curve25519.ts";
import { hmac } from "../crypto/hash.ts";
import type { Explanation, Opened, Scene, Step } from "../dialect.ts";
import type { ExplainSide } from "../keys.ts";
import {
  begin,
  type HandshakeState,
  type Initiator,
  readMessage1,
} from "./noise.ts";
import { type Knock1Client, knock1Dialect } from "./open.ts";
import {
  deriveKey,
  MAC_AT,
  macOf,
  PACKET_SIZE,
  TAG_LABEL,
  TAG_SIZE,
  WINDOW_MS,
} from "./tag.ts";
import {
  beginWeb,
  readWebPacket,
  WEB_MAC_AT,
  WEB_TAG_SIZE,
  webMacOf,
} from "./web/form.ts";
import { looksLikeCheck } from "./web/stun.ts";

/** Largest distance from now at which a tag is searched: a packet may have been kept for a while. */
const SEARCH_DAYS = 40;
/** Machines without a clock start in 1970. */
const EPOCH_DAYS = 2;
const DAY_MS = 86_400_000;

/** The clock difference that servers allow by default. */
const USUAL_SKEW_MS = 120_000;
/** Of the steps of an outline, the one of the tag. */
const TAG_STEP = 1;

/** One of the two forms of a knock, as a packet has it. */
interface KnockForm {
  readonly isWeb: boolean;
  /** The knock alone, without what a browser puts around it. */
  readonly bytes: Uint8Array;
  readonly tagSize: number;
  readonly macAt: number;
  readonly macOf: (server: Uint8Array) => (covered: Uint8Array) => Uint8Array;
  readonly begin: (tag: Uint8Array, server: Uint8Array) => HandshakeState;
  /** Words for what it is. */
  readonly words: string;
}

/** Finds the form of a packet; null: it has neither. */
function formOf(packet: Uint8Array): KnockForm | null {
  if (packet.length === PACKET_SIZE) {
    const words = `has the ${PACKET_SIZE} bytes of a knock`;
    const form = { tagSize: TAG_SIZE, macAt: MAC_AT, macOf, begin, words };
    return { isWeb: false, bytes: packet, ...form };
  }
  const read = readWebPacket(packet);
  return read && {
    isWeb: true,
    bytes: read.packet,
    tagSize: WEB_TAG_SIZE,
    macAt: WEB_MAC_AT,
    macOf: webMacOf,
    begin: beginWeb,
    words: "has the form of a knock from a browser, in a check of ICE",
  };
}

/** knock/1 as `knock decode` uses it. */
export const knockExplain: ExplainSide = {
  hasForm: (packet) => formOf(packet) !== null,
  explain(keys, packet, scene) {
    const clients = keys.clients.flatMap(({ name, knock, web }) =>
      knock ? [{ ...knock, name, web }] : []
    );
    return explainKnock1(keys.key, clients, keys.maxSkewMs, packet, scene);
  },
  recognise(profiles, packet, nowMs) {
    if (!formOf(packet)) return null;
    for (const { name, knock } of profiles) {
      if (!knock) continue;
      const { minuteMs, whole, steps } = outlineKnock1(
        knock.server,
        packet,
        nowMs,
        USUAL_SKEW_MS,
      );
      if (minuteMs === null && !whole) continue;
      const wrong = steps.findIndex(({ ok }) => !ok);
      return {
        dialect: "knock",
        verdict: wrong < 0 ? "sealed" : wrong === TAG_STEP ? "tag" : "mac",
        profile: name,
        request: null,
        steps: [...steps, {
          ok: true,
          text: `it is for the server of "${name}"`,
        }],
      };
    }
    const text = profiles.length === 0
      ? "there are no profiles to tell whose it is"
      : `it is for the server of none of ${profiles.length} profiles`;
    return {
      dialect: "knock",
      verdict: "tag",
      profile: null,
      request: null,
      steps: [{ ok: false, text }],
    };
  },
};

/** Fields of a packet that are readable with the server's public key alone. */
interface Knock1Outline {
  /** The start of the minute that the tag is of, Unix milliseconds; null: of none. */
  readonly minuteMs: number | null;
  /** True if it was made for this server and arrived unchanged. */
  readonly whole: boolean;
  readonly steps: readonly Step[];
}

/** Explains a packet to the owner of the server's private key. Never throws. */
export function explainKnock1(
  serverPrivate: Uint8Array,
  clients: readonly Knock1Client[],
  maxSkewMs: number,
  packet: Uint8Array,
  scene: Scene,
): Explanation {
  const form = formOf(packet);
  // A client that may not knock from a browser is told of by its name.
  const isWeb = looksLikeCheck(packet);
  const all = isWeb ? clients.map((one) => ({ ...one, web: true })) : clients;
  const dialect = knock1Dialect(serverPrivate, all, maxSkewMs);
  const opening = dialect.open(packet, scene);
  const mayNot = clientMayNot(form, clients, opening);
  const now: Opened = mayNot ? { ok: false, why: "unknown client" } : opening;
  const verdict = now.ok ? "request" : now.why;
  const own = keyPairOf(serverPrivate);
  const outline = outlineKnock1(own.publicKey, packet, scene.nowMs, maxSkewMs);
  const { minuteMs, whole, steps } = outline;
  const explanation: Omit<Explanation, "steps"> = {
    verdict,
    client: null,
    request: null,
    fields: null,
  };
  if (minuteMs === null || !form) return { ...explanation, steps };
  const tag_time = new Date(minuteMs).toISOString();
  if (!whole) return { ...explanation, fields: { tag_time }, steps };

  // A packet that is too old was good once, and names its client.
  const opened = verdict === "tag"
    ? dialect.open(packet, { ...scene, nowMs: minuteMs })
    : opening;
  const sender = senderOf(serverPrivate, form);
  const client_key = sender && formatBase64url(sender);
  return {
    verdict,
    client: opened.ok ? opened.request.client : opened.client ?? null,
    request: opened.ok && !mayNot ? opened.request : null,
    fields: { tag_time, ...client_key !== null && { client_key } },
    steps: [
      ...steps,
      ...stepsOfSeal(opened, client_key),
      ...mayNot
        ? [{ ok: false, text: `"${mayNot}" may not knock from a browser` }]
        : [],
    ],
  };
}

/** The client of a knock from a browser that may not knock so; null: it may, or there is none. */
function clientMayNot(
  form: KnockForm | null,
  clients: readonly Knock1Client[],
  opening: Opened,
): string | null {
  const name = opening.ok ? opening.request.client : opening.client;
  const client = form?.isWeb && clients.find((one) => one.name === name);
  return client && !client.web ? client.name : null;
}

/** Looks at a packet as all can who know the server's public key, 32 bytes. */
function outlineKnock1(
  serverPublic: Uint8Array,
  packet: Uint8Array,
  nowMs: number,
  maxSkewMs: number,
): Knock1Outline {
  const form = formOf(packet);
  if (!form) {
    const text = looksLikeCheck(packet)
      ? "is a check of ICE without a knock in it: another program's, or changed"
      : `has ${packet.length} bytes, and a knock has ${PACKET_SIZE}`;
    return { minuteMs: null, whole: false, steps: [{ ok: false, text }] };
  }
  const { bytes, macAt } = form;
  const minuteMs = findMinute(serverPublic, form, nowMs, maxSkewMs);
  const proof = form.macOf(serverPublic)(bytes.subarray(0, macAt));
  const whole = timingSafeEqual(proof, bytes.subarray(macAt));
  return {
    minuteMs,
    whole,
    steps: [
      { ok: true, text: form.words },
      stepOfTag(minuteMs, nowMs, maxSkewMs),
      stepOfMac(minuteMs, whole),
    ],
  };
}

/** The minute whose tag a packet bears, the nearest first. */
function findMinute(
  serverPublic: Uint8Array,
  { bytes, tagSize }: KnockForm,
  nowMs: number,
  maxSkewMs: number,
): number | null {
  const authenticate = hmac("sha256", deriveKey(TAG_LABEL, serverPublic));
  const counter = new Uint8Array(TAG_SIZE);
  const view = new DataView(counter.buffer);
  const wanted = bytes.subarray(0, tagSize);
  const isOf = (window: number) => {
    if (window < 0) return false;
    view.setBigUint64(0, BigInt(window));
    const tag = authenticate(counter);
    return wanted.every((byte, index) => byte === tag[index]);
  };
  const here = Math.floor(nowMs / WINDOW_MS);
  const far = Math.ceil(
    Math.max(SEARCH_DAYS * DAY_MS, maxSkewMs) / WINDOW_MS,
  );
  for (let off = 0; off <= far; off++) {
    if (isOf(here - off)) return (here - off) * WINDOW_MS;
    if (isOf(here + off)) return (here + off) * WINDOW_MS;
  }
  for (let window = 0; window < EPOCH_DAYS * DAY_MS / WINDOW_MS; window++) {
    if (isOf(window)) return window * WINDOW_MS;
  }
  return null;
}

function stepOfTag(
  minuteMs: number | null,
  nowMs: number,
  maxSkewMs: number,
): Step {
  if (minuteMs === null) {
    return {
      ok: false,
      text: `its tag is not of this server's key in any minute within ` +
        `${SEARCH_DAYS} days: made for another server, or damaged`,
    };
  }
  const minutes = Math.floor(nowMs / WINDOW_MS) - minuteMs / WINDOW_MS;
  const far = minutes === 0
    ? "this minute"
    : `${Math.abs(minutes)} min ${minutes > 0 ? "ago" : "ahead"}`;
  const when = new Date(minuteMs).toISOString().slice(0, 16) + "Z";
  const ok = minuteMs + WINDOW_MS > nowMs - maxSkewMs &&
    minuteMs <= nowMs + maxSkewMs;
  const text = `its tag is of this server's key at ${when}, ${far}`;
  return ok ? { ok, text } : {
    ok,
    text: `${text}: further than max_skew, ${maxSkewMs / 1000} s; it is a ` +
      `packet that was kept, or the clock of the client or of the server is off`,
  };
}

function stepOfMac(minuteMs: number | null, whole: boolean): Step {
  if (whole) {
    return { ok: true, text: "its mac is of this server's key: it is whole" };
  }
  return {
    ok: false,
    text: minuteMs === null
      ? "its mac is not of this server's key either"
      : "its mac does not hold: damaged, or made by somebody who saw a tag",
  };
}

function stepsOfSeal(opened: Opened, clientKey: string | null): Step[] {
  if (clientKey === null) {
    const text = "it cannot be opened with this server's private key: forged";
    return [{ ok: false, text }];
  }
  const sealed = {
    ok: true,
    text: "it is sealed for this server's private key",
  };
  if (!opened.ok && opened.client === undefined) {
    const text = `its client key is of no client here: ${clientKey}`;
    return [sealed, { ok: false, text }];
  }
  const name = opened.ok ? opened.request.client : opened.client;
  const known = { ok: true, text: `its client key is that of "${name}"` };
  if (!opened.ok && opened.why === "noise") {
    const text =
      `it does not prove to be from "${name}": another psk, or forged`;
    return [sealed, known, { ok: false, text }];
  }
  const proved = { ok: true, text: `it proves to be from "${name}"` };
  if (!opened.ok && opened.why === "integrity") {
    const text = "what the browser put around it does not hold: changed on " +
      "its way, or copied into another check";
    return [sealed, known, proved, { ok: false, text }];
  }
  const payload = opened.ok
    ? { ok: true, text: "its payload has the form of a request" }
    : { ok: false, text: "its payload has no meaning: a later version's?" };
  return [sealed, known, proved, payload];
}

/** The client's public key that a packet names; null if it is not for this server. */
function senderOf(
  serverPrivate: Uint8Array,
  { bytes, tagSize, macAt, begin }: KnockForm,
): Uint8Array | null {
  const own = keyPairOf(serverPrivate);
  const begun = begin(bytes.subarray(0, tagSize), own.publicKey);
  const message = bytes.subarray(tagSize, macAt);
  let sender: Uint8Array | null = null;
  readMessage1<Initiator>(begun, own, message, (key) => {
    sender = new Uint8Array(key);
    return null;
  });
  return sender;
}
