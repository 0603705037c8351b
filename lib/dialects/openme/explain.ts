/** What a packet of openme's is, step by step, for who asks why it does not open. */

import type { Explanation, Scene, Step } from "../dialect.ts";
import {
  isSignedBy,
  type OpenmeClient,
  openmeDialect,
  outlineOpenme,
  PACKET_SIZE,
  peekOpenme,
} from "./open.ts";

const VERSION = 1;

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
  const steps: Step[] = [formStep(packet)];
  const right = () => steps.every(({ ok }) => ok);
  if (right()) {
    steps.push(
      said ? { ok: true, text: "it is sealed for this server's openme key" } : {
        ok: false,
        text: "it is sealed for another server's openme key, or damaged",
      },
    );
  }
  if (right()) {
    const count = clients.length;
    steps.push(
      request ? { ok: true, text: `it is signed by "${request.client}"` } : {
        ok: false,
        text: `it is signed by none of ${count} ` +
          `${count === 1 ? "client" : "clients"}, or damaged`,
      },
    );
  }
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

/** Tells whose packet it is by the seeds of the clients' own keys, by name. */
export function recogniseOpenme(
  seeds: readonly { readonly name: string; readonly seed: Uint8Array }[],
  packet: Uint8Array,
): { readonly name: string | null; readonly steps: readonly Step[] } {
  const form = formStep(packet);
  const own = form.ok
    ? seeds.find(({ seed }) => isSignedBy(seed, packet))
    : undefined;
  if (own) {
    const text = `it is signed by the key of profile "${own.name}"`;
    return { name: own.name, steps: [form, { ok: true, text }] };
  }
  const text = `it is signed by the key of none of ${seeds.length} profiles`;
  return { name: null, steps: [form, ...form.ok ? [{ ok: false, text }] : []] };
}

function formStep(packet: Uint8Array): Step {
  const outline = outlineOpenme(packet);
  if (!outline) {
    const text = `has ${packet.length} bytes, and openme's have ${PACKET_SIZE}`;
    return { ok: false, text };
  }
  const { version } = outline;
  return version === VERSION
    ? { ok: true, text: `has ${PACKET_SIZE} bytes and openme's version 1` }
    : { ok: false, text: `is of openme's version ${version}, wanted 1` };
}
