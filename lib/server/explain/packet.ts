/** What the server would make of a packet, and why, in words. Nothing is recorded. */

import type { Config } from "../../config/config.ts";
import type {
  Dialect,
  DialectName,
  Explanation,
  Opened,
  PacketRefusal,
  Scene,
} from "../../dialects/dialect.ts";
import { explainFwknop } from "../../dialects/fwknop/explain.ts";
import { hasForm } from "../../dialects/fwknop/packet.ts";
import { explainKnock1 } from "../../dialects/knock1/explain.ts";
import { PACKET_SIZE } from "../../dialects/knock1/open.ts";
import { explainOpenme } from "../../dialects/openme/explain.ts";
import { outlineOpenme } from "../../dialects/openme/open.ts";
import { explainOpenspa } from "../../dialects/openspa/explain.ts";
import {
  MIN_PACKET_SIZE,
  outlineOpenspa,
} from "../../dialects/openspa/open.ts";
import { createDialects } from "../packet/dialects.ts";
import {
  type Explained,
  explainJudgement,
  type ExplainOptions,
  type PacketExplanation,
} from "./policy.ts";

type Explain = (packet: Uint8Array, scene: Scene) => Explanation;

/** Dialects that explain their packets better than by the refusal's name. */
const EXPLAINERS: Partial<Record<DialectName, (config: Config) => Explain>> = {
  knock: ({ key, clients, maxSkewMs }) => (packet, scene) =>
    explainKnock1(
      key,
      clients.flatMap(({ name, knock }) => knock ? [{ name, ...knock }] : []),
      maxSkewMs,
      packet,
      scene,
    ),
  fwknop: ({ clients }) => (packet, scene) =>
    explainFwknop(
      clients.flatMap(({ name, fwknop }) =>
        fwknop ? [{ name, ...fwknop }] : []
      ),
      packet,
      scene,
    ),
  openme: ({ openme, clients }) => (packet, scene) =>
    explainOpenme(
      openme.key!,
      clients.flatMap(({ name, openme }) =>
        openme ? [{ name, ...openme }] : []
      ),
      packet,
      scene,
    ),
  openspa: ({ openspa, clients }) => (packet, scene) =>
    explainOpenspa(
      openspa.key!,
      clients.flatMap(({ name, openspa }) =>
        openspa ? [{ name, ...openspa }] : []
      ),
      openspa.adkSecret,
      packet,
      scene,
    ),
};

/** The form of packets of dialects that no client here may use. */
const FORMS: readonly [DialectName, (packet: Uint8Array) => boolean][] = [
  ["knock", (packet) => packet.length === PACKET_SIZE],
  ["openme", (packet) => outlineOpenme(packet)?.version === 1],
  ["openspa", (packet) => {
    const header = outlineOpenspa(packet);
    return packet.length >= MIN_PACKET_SIZE && header?.version === 2 &&
      header.type === "request" && header.suite === 1;
  }],
  ["fwknop", hasForm],
];

/** Explains a packet by a configuration. Never throws because of the packet. */
export function explainPacket(
  config: Config,
  packet: Uint8Array,
  circumstances: ExplainOptions,
): Explained {
  const { nowMs } = circumstances;
  // A copy of what was accepted is a request, too: it is said further down.
  const scene = { nowMs, seen: () => false, mayCost: () => true };
  const dialects = createDialects(config);
  const explained = dialects.filter((one) => one.recognises(packet))
    .map((dialect) => explainBy(config, dialect, packet, scene));
  const best = explained.sort((a, b) => rank(b) - rank(a))[0] ??
    explainForm(config, dialects, packet, scene);
  return explainJudgement(config, best, circumstances);
}

/** How far a packet came, to compare what several dialects make of it. */
export function rank(
  { dialect, verdict, client, steps }: Omit<Explained, "would">,
): number {
  const right = steps.filter(({ ok }) => ok).length;
  return (verdict === "request" ? 1000 : 0) + (client === null ? 0 : 100) +
    (dialect === null ? 0 : 1) + right;
}

function explainBy(
  config: Config,
  dialect: Dialect,
  packet: Uint8Array,
  scene: Scene,
): PacketExplanation {
  const { name } = dialect;
  const explain = EXPLAINERS[name]?.(config);
  const explanation = explain
    ? explain(packet, scene)
    : explainOpened(name, dialect.open(packet, scene));
  return { dialect: name, ...explanation };
}

/** What can be said of any dialect's packet. */
function explainOpened(name: DialectName, opened: Opened): Explanation {
  const form = { ok: true, text: `has the form of a packet of ${name}` };
  if (opened.ok) {
    const { request } = opened;
    const { client } = request;
    const proof = { ok: true, text: `it proves to be from "${client}"` };
    const steps = [form, proof];
    return { verdict: "request", client, request, fields: null, steps };
  }
  const { why, client = null } = opened;
  const steps = [form, { ok: false, text: REFUSED[why] }];
  return { verdict: why, client, request: null, fields: null, steps };
}

const REFUSED: Readonly<Record<PacketRefusal, string>> = {
  "form": "it has the form of no dialect that is in use",
  "length": "its length is not that of a packet",
  "version": "it is of another version",
  "tag": "its tag is not of this server's key now",
  "adk": "its ADK proof is not of this server's secret now",
  "mac": "its mac does not hold: another key, or damaged",
  "rate":
    "too much of the server's time went into packets of this dialect that failed",
  "replay": "it was accepted before",
  "noise": "it cannot be opened: another key, or damaged",
  "unknown client": "its sender is no client here",
  "signature": "its signature is not that of its client's key",
  "cipher": "it cannot be decrypted: another key, or damaged",
  "integrity": "its check is not signed with the password of its knock",
  "busy": "it takes gpg to open it, which the server alone runs",
  "payload": "what it says has no meaning here",
};

/** A packet that no dialect in use recognises. */
function explainForm(
  config: Config,
  dialects: readonly Dialect[],
  packet: Uint8Array,
  scene: Scene,
): PacketExplanation {
  const used = dialects.map(({ name }) => name);
  const other = FORMS.find(([name, fits]) =>
    !used.includes(name) && fits(packet)
  )?.[0];
  if (other) {
    const keyless = config.clients.some((client) => client[other] !== null);
    const text = `has the form of a packet of ${other}, ` +
      (keyless
        ? "for which this server has no key yet: `knock serve` makes it"
        : "which no client of this configuration uses");
    return { ...nobody("form"), dialect: other, steps: [{ ok: false, text }] };
  }
  // With a single dialect it is clear what was wanted.
  if (dialects.length === 1) {
    const explanation = explainBy(config, dialects[0]!, packet, scene);
    return { ...explanation, dialect: null };
  }
  const among = used.length === 0 ? "no client has keys" : used.join(", ");
  const text = `${packet.length} bytes: ${REFUSED.form} (${among})`;
  return { ...nobody("form"), dialect: null, steps: [{ ok: false, text }] };
}

function nobody(verdict: PacketRefusal) {
  return { verdict, client: null, request: null, fields: null };
}
