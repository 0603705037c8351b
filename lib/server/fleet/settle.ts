/**
 * Step 7 in a fleet, between the judgement and the record of a change: a
 * gateway goes on only with what the engine has granted to it. Unknown is
 * silence, and the client's next try is a fresh packet; taken is a replay. The
 * others are told of what opens in the write that claims it: they need not wait
 * for this gateway's firewall, and where it fails, they are told to close.
 * @module
 */

import { attempt, explainRefusal, stateTrouble } from "../report/log.ts";
import {
  type Change,
  type Decision,
  entriesOf,
  type PendingChange,
  record,
} from "../grants/records.ts";
import { isWithin, type LedgerEntry } from "../state/ledger.ts";
import { granteesOf, type Server } from "../state/server.ts";

/** Claims a pending change, and records it; null is silence. */
export async function settle(
  server: Server,
  pending: PendingChange,
): Promise<Settled | null> {
  const { counters, events, limit, queue, runtime, fleet } = server;
  const { change, claims, decidedMs } = pending;
  const { client, address } = change;
  const opens = isShared(change) && change.action === "open"
    ? entriesOf(server, change, decidedMs).filter(isSharedEntry)
    : [];
  for (const claim of claims) {
    // What opens is told with the last one.
    const told = claim === claims.at(-1) ? opens : [];
    const state = fleet
      ? await queue.during(client, () => fleet.claim(claim, told))
      : "unknown";
    counters.add(`fleet: ${state}`);
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
  const settled = recordClaimed(server, pending);
  if (!settled?.ok) fleet?.takeBack(opens);
  return settled;
}

type Settled = Exclude<Decision, { readonly pending: PendingChange }>;

/** Records a change whose claims are all ours; null is silence. */
function recordClaimed(
  server: Server,
  { change, claims, note, decidedMs }: PendingChange,
): Settled | null {
  const { counters, events, store } = server;
  const { client, address } = change;
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

/** Tells the fleet what is being opened here. */
export function tellOpening(server: Server, change: Change): void {
  const { fleet, store, runtime } = server;
  const { action, client, address, ports } = change;
  if (!fleet || action !== "open" || !isShared(change)) return;
  const held = store.ledger.ofAddress(address, runtime.nowMs());
  fleet.announce(
    held.filter((entry) =>
      entry.client === client && isSharedEntry(entry) && isWithin(entry, ports)
    ),
  );
}

/** Tells the fleet what was closed here, or could not be opened. */
export function tellDone(
  server: Server,
  change: Change,
  isDone: boolean,
): void {
  const { fleet, runtime } = server;
  const { action, client, address, ports } = change;
  if (!fleet || !isShared(change)) return;
  if (action === "close" && isDone) fleet.withdraw(client, address, ports);
  if (action !== "open" || isDone) return;
  const opened = entriesOf(server, change, runtime.nowMs());
  fleet.takeBack(opened.filter(isSharedEntry));
}

/** False for what is from the fleet, leads to where only this gateway leads, or is for a network: a shared grant has an address. */
function isShared({ to, dialect, address }: Omit<Change, "before">): boolean {
  return dialect !== FROM_FLEET && !to && !address.includes("/");
}

function isSharedEntry({ once, to, at }: LedgerEntry): boolean {
  return !once && !to && !at;
}

/** Stands for the dialect of a grant that another gateway gave. */
export const FROM_FLEET = "fleet";

function silence({ counters }: Server, why: string): null {
  counters.add(`refused: ${why}`);
  return null;
}
