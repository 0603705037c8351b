/**
 * Step 7 in a fleet, between the judgement and the record of a change: a
 * gateway goes on only with what the engine has granted to it. Unknown is
 * silence, and the client's next try is a fresh packet; taken is a replay.
 * @module
 */

import { explainRefusal } from "../report/events.ts";
import { attempt, stateTrouble } from "../report/log.ts";
import {
  type Change,
  type Decision,
  type PendingChange,
  record,
} from "../grants/records.ts";
import { isWithin } from "../state/ledger.ts";
import { granteesOf, type Server } from "../state/server.ts";

/** Claims a pending change, and records it; null is silence. */
export async function settle(
  server: Server,
  { change, claims, note, decidedMs }: PendingChange,
): Promise<Exclude<Decision, { readonly pending: PendingChange }> | null> {
  const { counters, events, limit, queue, runtime, store } = server;
  const { client, address } = change;
  for (const claim of claims) {
    const fleet = server.fleet;
    const state = fleet
      ? await queue.during(client, () => fleet.claim(claim))
      : "unknown";
    counters.add(COUNTED[state]);
    if (state === "unknown") {
      if (limit.tells(client, "policy", runtime.nowMs())) {
        const words = fleet?.trouble ?? "the server has left the fleet";
        events.say("error", "failed", change, words);
      }
      return null;
    }
    if (state === "ours") continue;
    await attempt(server.log, () => claim.taken?.());
    if (claim.of === "packet") return silence(server, "replay");
    counters.add("refused: code used");
    if (limit.tells(client, "policy", runtime.nowMs())) {
      const words = explainRefusal("code used", address);
      events.say("warn", "refused", change, words);
    }
    return { ok: false, status: "refused", reason: "code used", address };
  }
  // Of an engine that was emptied meanwhile, a claim says nothing.
  const isForgotten = claims.some(({ timestampMs }) =>
    timestampMs !== null && store.replay.isForgotten(timestampMs)
  );
  if (isForgotten) return silence(server, "time");
  if (!granteesOf(server.active.config, server.fleet).has(client)) {
    return silence(server, "unknown client");
  }
  try {
    return store.transaction(() => {
      note();
      return { ok: true, change: record(server, change, decidedMs) };
    });
  } catch (error) {
    counters.add("failed: state");
    events.say("error", "failed", change, stateTrouble(error));
    return { ok: false, status: "failed", address };
  }
}

const COUNTED = {
  ours: "fleet: ours",
  taken: "fleet: taken",
  unknown: "fleet: unknown",
} as const;

/** Tells the fleet what was opened or closed here. */
export function tellFleet(server: Server, change: Change): void {
  const { fleet, store, runtime } = server;
  const { action, client, address, ports, to, dialect } = change;
  // From the fleet, or to where only this gateway leads.
  if (!fleet || dialect === FROM_FLEET || to) return;
  // A network's grant is this gateway's alone: a shared one has an address.
  if (address.includes("/")) return;
  if (action === "close") fleet.withdraw(client, address, ports);
  if (action !== "open") return;
  const nowMs = runtime.nowMs();
  fleet.announce(
    store.ledger.ofAddress(address, nowMs).filter((entry) =>
      entry.client === client && !entry.once && !entry.to && !entry.at &&
      isWithin(entry, ports)
    ),
  );
}

/** Stands for the dialect of a grant that another gateway gave. */
export const FROM_FLEET = "fleet";

function silence({ counters }: Server, why: string): null {
  counters.add(`refused: ${why}`);
  return null;
}
