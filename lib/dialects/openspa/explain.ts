/** Explanation of an OpenSPA packet, step by step, for `knock decode`. */

import { formatUuid } from "../../values/bytes.ts";
import { formatPortRange } from "../../values/ports.ts";
import { type RsaKey, SessionOpener } from "../crypto/rsa.ts";
import type { Scene } from "../dialect.ts";
import {
  clientsOf,
  type ExplainSide,
  type Explanation,
  type Step,
  step,
} from "../keys.ts";
import { adkCheck, adkProof } from "./adk.ts";
import { openEnvelope, readHeader } from "./envelope.ts";
import {
  MAX_PACKET_SIZE,
  MIN_PACKET_SIZE,
  type OpenspaClient,
  openspaDialect,
} from "./open.ts";
import { decodeRequest } from "./payload.ts";

const MINUTE_MS = 60_000;
type Said = NonNullable<ReturnType<typeof decodeRequest>>;

/** Largest distance from now at which a proof is searched. */
const SEARCH_MINUTES = 24 * 60;

/** OpenSPA as `knock decode` uses it. */
export const openspaExplain: ExplainSide = {
  hasForm(packet) {
    const header = readHeader(packet);
    return isRequest(packet) && header!.suite === 1;
  },
  explain(keys, packet, scene) {
    const { key, adkSecret } = keys.openspa;
    const clients = clientsOf(keys, "openspa");
    return explainOpenspa(key!, clients, adkSecret, packet, scene);
  },
  // The proof alone can be looked at without the server's key.
  recognise(profiles, packet, nowMs) {
    if (!isRequest(packet)) return null;
    const form = formStep(packet);
    const looks = profiles.flatMap(({ name, openspa }) => {
      if (!openspa) return [];
      const { adk_secret: secret } = openspa;
      const proof = form.ok && secret ? [adkStep(secret, packet, nowMs)] : [];
      const steps = [form, ...proof];
      return [{ name, steps, ok: steps.every(({ ok }) => ok) }];
    });
    const best = looks.find(({ ok }) => ok);
    return {
      dialect: "openspa",
      verdict: best ? "sealed" : "adk",
      profile: best?.name ?? null,
      request: null,
      steps: (best ?? looks[0])?.steps ?? [form],
    };
  },
};

function isRequest(packet: Uint8Array): boolean {
  const header = readHeader(packet);
  return packet.length >= MIN_PACKET_SIZE && header?.version === 2 &&
    header.type === "request";
}

/** Explains a packet to the owner of the server's private key. Never throws. */
function explainOpenspa(
  serverPrivate: RsaKey,
  clients: readonly OpenspaClient[],
  adkSecret: Uint8Array | null,
  packet: Uint8Array,
  scene: Scene,
): Explanation {
  const strict = openspaDialect(serverPrivate, clients, adkSecret)
    .open(packet, scene);
  const verdict: Explanation["verdict"] = strict.ok ? "request" : strict.why;
  const steps: Step[] = [formStep(packet)];
  if (!steps[0]!.ok) {
    return { verdict, client: null, request: null, fields: null, steps };
  }
  if (adkSecret) steps.push(adkStep(adkSecret, packet, scene.nowMs));

  // What is behind a wrong proof helps to find out why it is wrong.
  const opened = strict.ok
    ? strict
    : openspaDialect(serverPrivate, clients, null).open(packet, scene);
  const said = opened.ok ? null : peek(serverPrivate, packet);
  const request = opened.ok ? opened.request : null;
  steps.push(...sealSteps(opened.ok ? null : opened.why, said, clients));
  if (request) steps.push(step(true, `it is signed by "${request.client}"`));
  return {
    verdict,
    client: request?.client ?? null,
    request,
    fields: said && {
      uuid: formatUuid(said.uuid),
      ..."ports" in said
        ? { ports: formatPortRange(said.ports) }
        : { protocol: said.protocol },
      timestamp_ms: said.timestampMs,
      address: said.address,
      target: said.target,
    },
    steps,
  };
}

function formStep(packet: Uint8Array): Step {
  const { length } = packet;
  const header = readHeader(packet);
  if (!header || length < MIN_PACKET_SIZE || length > MAX_PACKET_SIZE) {
    const most = `${MIN_PACKET_SIZE} to ${MAX_PACKET_SIZE}`;
    return step(false, `has ${length} bytes, and OpenSPA's have ${most}`);
  }
  const { type, version, suite } = header;
  const ok = type === "request" && version === 2 && suite === 1;
  const text = `is a ${type} of OpenSPA's version ${version}, cipher suite ` +
    `${suite}`;
  return step(ok, text, `${text}; wanted a request, 2 and 1`);
}

function adkStep(
  secret: Uint8Array,
  packet: Uint8Array,
  nowMs: number,
): Step {
  const { adkProof: proof } = readHeader(packet)!;
  if (adkCheck(secret)(proof, nowMs)) {
    return step(true, "its ADK proof is of this server's secret now");
  }
  if (proof === 0) return step(false, "it has no ADK proof");
  for (let away = 2; away <= SEARCH_MINUTES; away++) {
    for (const side of [-1, 1]) {
      const timeMs = nowMs + side * away * MINUTE_MS;
      if (adkProof(secret, timeMs) !== proof) continue;
      const words = side < 0 ? "ago" : "ahead";
      return step(
        false,
        `its ADK proof is of ${away} minutes ${words}: the clocks differ, or ` +
          `it was kept`,
      );
    }
  }
  return step(false, "its ADK proof is of another secret");
}

function sealSteps(
  why: string | null,
  said: Said | null,
  clients: readonly OpenspaClient[],
): Step[] {
  const sealed = step(true, "it is sealed for this server's RSA key");
  switch (why) {
    case null:
      return [sealed];
    case "form":
      return [step(
        false,
        "its items are not an OpenSPA packet for a key of this server's size",
      )];
    case "cipher":
      return [
        step(false, "it is sealed for another server's RSA key, or damaged"),
      ];
    case "payload":
      return [sealed, step(false, "what it says has no meaning here")];
    default: {
      if (!said) return [];
      const uuid = formatUuid(said.uuid);
      const owner = clients.find((one) => formatUuid(one.uuid) === uuid);
      const text = owner
        ? `it names "${owner.name}" and is not signed by its key`
        : `it names the UUID ${uuid}, which no client here has`;
      return [sealed, step(false, text)];
    }
  }
}

function peek(serverPrivate: RsaKey, packet: Uint8Array): Said | null {
  const letter = openEnvelope(packet, new SessionOpener(serverPrivate));
  return typeof letter === "string" ? null : decodeRequest(letter.packet);
}
