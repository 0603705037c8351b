/**
 * What a client can tell of a packet: for which of its servers it is. Only
 * that server can open it.
 * @module
 */

import type {
  DialectName,
  PacketRefusal,
  Request,
  Step,
} from "../dialects/dialect.ts";
import { explainFwknop } from "../dialects/fwknop/explain.ts";
import { hasForm } from "../dialects/fwknop/packet.ts";
import { outlineKnock1 } from "../dialects/knock1/explain.ts";
import { PACKET_SIZE } from "../dialects/knock1/open.ts";
import { recogniseOpenme } from "../dialects/openme/explain.ts";
import { PACKET_SIZE as OPENME_SIZE } from "../dialects/openme/open.ts";
import { outlineSteps } from "../dialects/openspa/explain.ts";
import { MIN_PACKET_SIZE, outlineOpenspa } from "../dialects/openspa/open.ts";
import type { Profile } from "./profile/profile.ts";

/** The clock difference that servers allow where they say nothing else. */
const USUAL_SKEW_MS = 120_000;

/** What shows of a packet to the owner of some profiles. */
export interface Recognised {
  readonly dialect: DialectName | null;
  /**
   * "sealed": all that a client can check is right; "request" where it can
   * open the packet, too.
   */
  readonly verdict: "sealed" | "request" | PacketRefusal;
  /** The profile whose server it is for; null: none. */
  readonly profile: string | null;
  /** What it asks, where its keys are the client's, too. */
  readonly request: Request | null;
  readonly steps: readonly Step[];
}

/** Looks at a packet with the servers' public keys. Never throws. */
export function recognisePacket(
  profiles: readonly Profile[],
  packet: Uint8Array,
  nowMs: number,
): Recognised {
  if (hasForm(packet)) return recogniseFwknop(profiles, packet, nowMs);
  if (packet.length === OPENME_SIZE) return ofOpenme(profiles, packet);
  if (isOpenspa(packet)) return ofOpenspa(profiles, packet, nowMs);
  const request = null;
  if (packet.length !== PACKET_SIZE) {
    const text = `has ${packet.length} bytes, and a knock has ${PACKET_SIZE}`;
    const steps = [{ ok: false, text }];
    return { dialect: null, verdict: "length", profile: null, request, steps };
  }
  for (const { name, knock } of profiles) {
    if (!knock) continue;
    const { minuteMs, whole, steps } = outlineKnock1(
      knock.server,
      packet,
      nowMs,
      USUAL_SKEW_MS,
    );
    if (minuteMs === null && !whole) continue;
    const mine = { ok: true, text: `it is for the server of "${name}"` };
    const wrong = steps.findIndex(({ ok }) => !ok);
    const verdict = wrong < 0 ? "sealed" : wrong === TAG_STEP ? "tag" : "mac";
    return {
      dialect: "knock",
      verdict,
      profile: name,
      request,
      steps: verdict === "sealed"
        ? [...steps, mine, { ok: true, text: ONLY_SERVER }]
        : [...steps, mine],
    };
  }
  const text = profiles.length === 0
    ? "there are no profiles to tell whose it is"
    : `it is for the server of none of ${profiles.length} profiles`;
  const steps = [{ ok: false, text }];
  return { dialect: "knock", verdict: "tag", profile: null, request, steps };
}

/** Client and server have the same keys of fwknop's. */
function recogniseFwknop(
  profiles: readonly Profile[],
  packet: Uint8Array,
  nowMs: number,
): Recognised {
  const own = profiles.flatMap(({ name, fwknop }) =>
    fwknop && "key" in fwknop ? [{ ...fwknop, name }] : []
  );
  const scene = { nowMs, seen: () => false, mayCost: () => true };
  const { verdict, client, request, steps } = //
    explainFwknop(own, packet, scene);
  return { dialect: "fwknop", verdict, profile: client, request, steps };
}

/** openme's clients sign what only the server can open. */
function ofOpenme(
  profiles: readonly Profile[],
  packet: Uint8Array,
): Recognised {
  const seeds = profiles.flatMap(({ name, openme }) =>
    openme ? [{ name, seed: openme.key }] : []
  );
  const { name, steps } = recogniseOpenme(seeds, packet);
  return {
    dialect: "openme",
    verdict: name === null ? "signature" : "sealed",
    profile: name,
    request: null,
    steps: name === null ? steps : [...steps, { ok: true, text: ONLY_SERVER }],
  };
}

/** Of OpenSPA's packets the proof alone can be looked at without the server's key. */
function ofOpenspa(
  profiles: readonly Profile[],
  packet: Uint8Array,
  nowMs: number,
): Recognised {
  const looks = profiles.flatMap(({ name, openspa }) => {
    if (!openspa) return [];
    const steps = outlineSteps(openspa.adk_secret, packet, nowMs);
    return [{ name, steps, ok: steps.every(({ ok }) => ok) }];
  });
  const best = looks.find(({ ok }) => ok) ?? looks[0];
  return {
    dialect: "openspa",
    verdict: best?.ok ? "sealed" : "adk",
    profile: best?.ok ? best.name : null,
    request: null,
    steps: best?.ok
      ? [...best.steps, { ok: true, text: ONLY_SERVER }]
      : best?.steps ?? outlineSteps(null, packet, nowMs),
  };
}

function isOpenspa(packet: Uint8Array): boolean {
  const header = outlineOpenspa(packet);
  return packet.length >= MIN_PACKET_SIZE && header?.version === 2 &&
    header.type === "request";
}

/** Of the steps of an outline, the one of the tag. */
const TAG_STEP = 1;

const ONLY_SERVER = "what it asks shows on the server alone: `knock decode` " +
  "there, or `knock log`";
