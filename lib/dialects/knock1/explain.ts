/**
 * Explanation of a knock/1 packet, check by check, for the person who asks why it
 * does not open: the server's view, and a client's.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { formatBase64url } from "../../values/bytes.ts";
import { type KeyPair, keyPairOf } from "../crypto/curve25519.ts";
import { hmac } from "../crypto/hash.ts";
import type { Opened, Scene } from "../dialect.ts";
import {
  clientsOf,
  type ExplainSide,
  type Explanation,
  type Step,
  step,
} from "../keys.ts";
import { begin, type Initiator, readMessage1 } from "./noise.ts";
import { type Knock1Client, knock1Dialect } from "./open.ts";
import {
  deriveKey,
  MAC_AT,
  macOf,
  PACKET_SIZE,
  TAG_LABEL,
  TAG_SIZE,
  WINDOW_MS,
  windowOf,
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

/** The two forms of a knock, and the words for what each is. */
const PLAIN = {
  isWeb: false,
  tagSize: TAG_SIZE,
  macAt: MAC_AT,
  macOf,
  begin,
  words: `has the ${PACKET_SIZE} bytes of a knock`,
};
const WEB: typeof PLAIN = {
  isWeb: true,
  tagSize: WEB_TAG_SIZE,
  macAt: WEB_MAC_AT,
  macOf: webMacOf,
  begin: beginWeb,
  words: "has the form of a knock from a browser, in a check of ICE",
};

/** A form, and the knock without what a browser puts around it. */
type KnockForm = typeof PLAIN & { readonly bytes: Uint8Array };

/** Finds the form of a packet; null: it has neither. */
function formOf(packet: Uint8Array): KnockForm | null {
  if (packet.length === PACKET_SIZE) return { ...PLAIN, bytes: packet };
  const read = readWebPacket(packet);
  return read && { ...WEB, bytes: read.packet };
}

/** knock/1 as `knock decode` uses it. */
export const knockExplain: ExplainSide = {
  hasForm: (packet) => formOf(packet) !== null,
  explain(keys, packet, scene) {
    const clients = clientsOf(keys, "knock");
    return explainKnock1(keys.key, clients, keys.maxSkewMs, packet, scene);
  },
  recognise(profiles, packet, nowMs) {
    if (!formOf(packet)) return null;
    for (const { name, knock } of profiles) {
      if (!knock) continue;
      const { minuteMs, whole, steps } = //
        outlineKnock1(knock.server, packet, nowMs, USUAL_SKEW_MS);
      if (minuteMs === null && !whole) continue;
      const wrong = steps.findIndex(({ ok }) => !ok);
      const found = step(true, `it is for the server of "${name}"`);
      return {
        dialect: "knock",
        verdict: wrong < 0 ? "sealed" : wrong === TAG_STEP ? "tag" : "mac",
        profile: name,
        request: null,
        steps: [...steps, found],
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
      steps: [step(false, text)],
    };
  },
};

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
  const verdict = mayNot
    ? "unknown client"
    : opening.ok
    ? "request"
    : opening.why;
  const own = keyPairOf(serverPrivate);
  const outline = outlineKnock1(own.publicKey, packet, scene.nowMs, maxSkewMs);
  const { minuteMs, whole, steps } = outline;
  const nobody = { verdict, client: null, request: null, steps } as const;
  if (minuteMs === null || !form) return { ...nobody, fields: null };
  const tag_time = new Date(minuteMs).toISOString();
  if (!whole) return { ...nobody, fields: { tag_time } };

  // A packet that is too old was good once, and names its client.
  const opened = verdict === "tag"
    ? dialect.open(packet, { ...scene, nowMs: minuteMs })
    : opening;
  const sender = senderOf(own, form);
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
        ? [step(false, `"${mayNot}" may not knock from a browser`)]
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

/**
 * Looks at a packet as all can who know the server's public key, 32 bytes: the
 * start of the minute that its tag is of, Unix milliseconds, or null; and true
 * if it was made for this server and arrived unchanged.
 */
function outlineKnock1(
  serverPublic: Uint8Array,
  packet: Uint8Array,
  nowMs: number,
  maxSkewMs: number,
) {
  const form = formOf(packet);
  if (!form) {
    const text = looksLikeCheck(packet)
      ? "is a check of ICE without a knock in it: another program's, or changed"
      : `has ${packet.length} bytes, and a knock has ${PACKET_SIZE}`;
    return { minuteMs: null, whole: false, steps: [step(false, text)] };
  }
  const { bytes, macAt } = form;
  const minuteMs = findMinute(serverPublic, form, nowMs, maxSkewMs);
  const proof = form.macOf(serverPublic)(bytes.subarray(0, macAt));
  const whole = timingSafeEqual(proof, bytes.subarray(macAt));
  return {
    minuteMs,
    whole,
    steps: [
      step(true, form.words),
      stepOfTag(minuteMs, nowMs, maxSkewMs),
      step(
        whole,
        "its mac is of this server's key: it is whole",
        minuteMs === null
          ? "its mac is not of this server's key either"
          : "its mac does not hold: damaged, or made by somebody who saw a tag",
      ),
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
  const here = windowOf(nowMs);
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
    return step(
      false,
      `its tag is not of this server's key in any minute within ` +
        `${SEARCH_DAYS} days: made for another server, or damaged`,
    );
  }
  const minutes = windowOf(nowMs) - windowOf(minuteMs);
  const far = minutes === 0
    ? "this minute"
    : `${Math.abs(minutes)} min ${minutes > 0 ? "ago" : "ahead"}`;
  const when = new Date(minuteMs).toISOString().slice(0, 16) + "Z";
  const ok = minuteMs + WINDOW_MS > nowMs - maxSkewMs &&
    minuteMs <= nowMs + maxSkewMs;
  const text = `its tag is of this server's key at ${when}, ${far}`;
  return step(
    ok,
    text,
    `${text}: further than max_skew, ${maxSkewMs / 1000} s; it is a packet ` +
      `that was kept, or the clock of the client or of the server is off`,
  );
}

function stepsOfSeal(opened: Opened, clientKey: string | null): Step[] {
  const name = opened.ok ? opened.request.client : opened.client;
  const why = opened.ok ? null : opened.why;
  const steps = [
    step(
      clientKey !== null,
      "it is sealed for this server's private key",
      "it cannot be opened with this server's private key: forged",
    ),
    step(
      name !== undefined,
      `its client key is that of "${name}"`,
      `its client key is of no client here: ${clientKey}`,
    ),
    step(
      why !== "noise",
      `it proves to be from "${name}"`,
      `it does not prove to be from "${name}": another psk, or forged`,
    ),
    ...why !== "integrity" ? [] : [step(
      false,
      "what the browser put around it does not hold: changed on its way, or " +
        "copied into another check",
    )],
    step(
      opened.ok,
      "its payload has the form of a request",
      "its payload has no meaning: a later version's?",
    ),
  ];
  const wrong = steps.findIndex(({ ok }) => !ok);
  return wrong < 0 ? steps : steps.slice(0, wrong + 1);
}

/** The client's public key that a packet names; null if it is not for this server. */
function senderOf(
  own: KeyPair,
  { bytes, tagSize, macAt, begin }: KnockForm,
): Uint8Array | null {
  const begun = begin(bytes.subarray(0, tagSize), own.publicKey);
  const message = bytes.subarray(tagSize, macAt);
  let sender: Uint8Array | null = null;
  readMessage1<Initiator>(begun, own, message, (key) => {
    sender = new Uint8Array(key);
    return null;
  });
  return sender;
}
