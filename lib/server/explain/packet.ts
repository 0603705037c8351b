/** Explanation of how the server would treat a packet. Records nothing. */

import type { Config } from "../../config/config.ts";
import type { Dialect, PacketRefusal, Scene } from "../../dialects/dialect.ts";
import {
  createDialects,
  DIALECT_NAMES,
  DIALECTS,
} from "../../dialects/table.ts";
import {
  type Explained,
  explainJudgement,
  type ExplainOptions,
  type PacketExplanation,
} from "./policy.ts";

/** Explains a packet by a configuration. Never throws because of the packet. */
export async function explainPacket(
  config: Config,
  packet: Uint8Array,
  circumstances: ExplainOptions,
): Promise<Explained> {
  const { nowMs } = circumstances;
  // A copy of what was accepted is a request, too: it is said further down.
  const scene = { nowMs, seen: () => false, mayCost: () => true };
  const dialects = await createDialects(config);
  const explained = await Promise.all(
    dialects.filter((one) => one.recognises(packet))
      .map((dialect) => explainBy(config, dialect, packet, scene)),
  );
  const best = explained.sort((a, b) => rank(b) - rank(a))[0] ??
    await explainForm(config, dialects, packet, scene);
  return explainJudgement(config, best, circumstances);
}

/** Number of checks that a packet passed, for comparing the results of several dialects. */
export function rank(
  { dialect, verdict, client, steps }: Omit<Explained, "would">,
): number {
  const right = steps.filter(({ ok }) => ok).length;
  return (verdict === "request" ? 1000 : 0) + (client === null ? 0 : 100) +
    (dialect === null ? 0 : 1) + right;
}

async function explainBy(
  config: Config,
  { name }: Dialect,
  packet: Uint8Array,
  scene: Scene,
): Promise<PacketExplanation> {
  const { explain } = await DIALECTS[name].explain();
  return { dialect: name, ...explain(config, packet, scene) };
}

/** A packet that no dialect in use recognises. */
async function explainForm(
  config: Config,
  dialects: readonly Dialect[],
  packet: Uint8Array,
  scene: Scene,
): Promise<PacketExplanation> {
  const used = dialects.map(({ name }) => name);
  for (const other of DIALECT_NAMES) {
    if (used.includes(other)) continue;
    const { hasForm } = await DIALECTS[other].explain();
    if (!hasForm(packet)) continue;
    const keyless = config.clients.some((client) => client[other] !== null);
    const text = `has the form of a packet of ${other}, ` +
      (keyless
        ? "for which this server has no key yet: `knock serve` makes it"
        : "which no client of this configuration uses");
    return { ...nobody("form"), dialect: other, steps: [{ ok: false, text }] };
  }
  // With a single dialect it is clear what was wanted.
  if (dialects.length === 1) {
    const explanation = await explainBy(config, dialects[0]!, packet, scene);
    return { ...explanation, dialect: null };
  }
  const among = used.length === 0 ? "no client has keys" : used.join(", ");
  const text =
    `${packet.length} bytes: it has the form of no dialect that is in use ` +
    `(${among})`;
  return { ...nobody("form"), dialect: null, steps: [{ ok: false, text }] };
}

function nobody(verdict: PacketRefusal) {
  return { verdict, client: null, request: null, fields: null };
}
