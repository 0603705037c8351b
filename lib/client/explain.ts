/**
 * Explanation of a packet on a client: the server that it is for. Only
 * that server can open it.
 * @module
 */

import type { Recognised } from "../dialects/keys.ts";
import type { NamedProfile } from "../dialects/keys.ts";
import { DIALECT_NAMES, DIALECTS } from "../dialects/table.ts";
import { PACKET_SIZE } from "../dialects/knock1/tag.ts";

/** Looks at a packet with the servers' public keys. Never throws because of it. */
export async function recognisePacket(
  profiles: readonly NamedProfile[],
  packet: Uint8Array,
  nowMs: number,
): Promise<Recognised> {
  // Our own is last: its packets have any bytes, others begin with theirs.
  const [own, ...others] = DIALECT_NAMES;
  for (const name of [...others, own!]) {
    const { recognise } = await DIALECTS[name].explain();
    const found = recognise(profiles, packet, nowMs);
    if (!found) continue;
    if (found.verdict !== "sealed") return found;
    const steps = [...found.steps, { ok: true, text: ONLY_SERVER }];
    return { ...found, steps };
  }
  const text = `has ${packet.length} bytes, and a knock has ${PACKET_SIZE}`;
  const steps = [{ ok: false, text }];
  const nobody = { dialect: null, profile: null, request: null };
  return { ...nobody, verdict: "length", steps };
}

const ONLY_SERVER = "what it asks shows on the server alone: `knock decode` " +
  "there, or `knock log`";
