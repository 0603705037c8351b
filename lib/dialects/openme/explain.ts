/** Explanation of an openme packet, step by step, for `knock decode`. */

import { counted } from "../../values/text.ts";
import type { Scene } from "../dialect.ts";
import {
  clientsOf,
  type ExplainSide,
  type Explanation,
  type Step,
  step,
} from "../keys.ts";
import {
  isSignedBy,
  type OpenmeClient,
  openmeDialect,
  PACKET_SIZE,
  peekOpenme,
} from "./open.ts";

const VERSION = 1;

/** openme as `knock decode` uses it. */
export const openmeExplain: ExplainSide = {
  hasForm: (packet) => formStep(packet).ok,
  explain: (keys, packet, scene) =>
    explainOpenme(keys.openme.key!, clientsOf(keys, "openme"), packet, scene),
  // A client signs what only the server can open.
  recognise(profiles, packet) {
    if (packet.length !== PACKET_SIZE) return null;
    const seeds = profiles.flatMap(({ name, openme }) =>
      openme ? [{ name, seed: openme.key }] : []
    );
    const form = formStep(packet);
    const own = form.ok
      ? seeds.find(({ seed }) => isSignedBy(seed, packet))
      : undefined;
    const signed = step(
      own !== undefined,
      `it is signed by the key of profile "${own?.name}"`,
      `it is signed by the key of none of ${seeds.length} profiles`,
    );
    return {
      dialect: "openme",
      verdict: own ? "sealed" : "signature",
      profile: own?.name ?? null,
      request: null,
      steps: form.ok ? [form, signed] : [form],
    };
  },
};

/** Explains a packet to the owner of the server's private key. Never throws. */
export function explainOpenme(
  serverPrivate: Uint8Array,
  clients: readonly OpenmeClient[],
  packet: Uint8Array,
  scene: Scene,
): Explanation {
  const opened = openmeDialect(serverPrivate, clients).open(packet, scene);
  const verdict = opened.ok ? "request" : opened.why;
  const request = opened.ok ? opened.request : null;
  const said = peekOpenme(serverPrivate, packet);
  const form = formStep(packet);
  const sealed = step(
    said !== null,
    "it is sealed for this server's openme key",
    "it is sealed for another server's openme key, or damaged",
  );
  const signed = step(
    request !== null,
    `it is signed by "${request?.client}"`,
    `it is signed by none of ${counted(clients.length, "client")}, or damaged`,
  );
  const steps = [form, ...form.ok ? [sealed, ...said ? [signed] : []] : []];
  return {
    verdict,
    client: request?.client ?? null,
    request,
    fields: said && !request
      ? {
        timestamp_ms: said.timestampMs,
        ...said.address !== null && { address: said.address },
      }
      : null,
    steps,
  };
}

function formStep(packet: Uint8Array): Step {
  if (packet.length !== PACKET_SIZE) {
    const text = `has ${packet.length} bytes, and openme's have ${PACKET_SIZE}`;
    return step(false, text);
  }
  const [version] = packet;
  return step(
    version === VERSION,
    `has ${PACKET_SIZE} bytes and openme's version 1`,
    `is of openme's version ${version}, wanted 1`,
  );
}
