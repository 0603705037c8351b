/**
 * The last third of a packet's way: what was decided and recorded is done, one
 * change of the firewall after the other, and answered. Protocol, "The order
 * of judging", step 9. And the orders to the firewall, one after the other:
 * callers wait in the queue. They throw FirewallError.
 * @module
 */

import type { Config } from "../../config/config.ts";
import { kernelSequences } from "../../config/sequences.ts";
import type { Answer } from "../../dialects/dialect.ts";
import { endConnections } from "../../firewall/conntrack.ts";
import { FirewallError } from "../../firewall/firewall.ts";
import {
  containsPorts,
  countPorts,
  formatPortRange,
  overlapPorts,
  sharedPorts,
} from "../../values/ports.ts";
import { formatDuration } from "../../values/time.ts";
import { settle, tellDone, tellOpening } from "../fleet/settle.ts";
import { latestEnd } from "../packet/judge.ts";
import { isWithin, type LedgerEntry, mergeEntries } from "../state/ledger.ts";
import { type Active, granteesOf, type Server } from "../state/server.ts";
import {
  type Change,
  type Decision,
  entriesOf,
  putBack,
  takeBack,
} from "./records.ts";

/**
 * Carries out what was decided; the answer settles when the firewall has done
 * it, or could not. Null is silence: the fleet has it elsewhere, or cannot say.
 */
export async function carryOut(
  server: Server,
  decided: Decision,
): Promise<Answer | null> {
  const { runtime, queue } = server;
  const decision = "pending" in decided
    ? await settle(server, decided.pending)
    : decided;
  if (!decision) return null;
  if (!decision.ok) {
    const { ok: _, ...refused } = decision;
    return { ...NOTHING, ...refused, timeMs: runtime.nowMs() };
  }
  const { change } = decision;
  const { client, ports, seconds } = change;
  // Of a network the client's own address: there is no room for its length, and
  // what a reply names the client takes for its own.
  const address = change.reported ?? change.address;
  tellOpening(server, change);
  const isDone = change.run !== null
    // Not in the queue: nothing waits for a long command.
    ? await runCommand(server, change, change.run)
    : await queue.addFor(client, () => apply(server, change));
  const timeMs = runtime.nowMs();
  tellDone(server, change, isDone);
  const count = Math.min(countPorts(ports), MAX_COUNT);
  return isDone
    ? { status: "done", count, seconds, timeMs, address }
    : { ...NOTHING, status: "failed", timeMs, address };
}

const NOTHING = { count: 0, seconds: 0 };

/** Most ports that a reply can count: 16 bits. */
const MAX_COUNT = 0xffff;

/** Tells whether a change was done. What could not be opened is taken out of the ledger again. */
async function apply(server: Server, change: Change): Promise<boolean> {
  const { runtime, counters, events } = server;
  const nowMs = runtime.nowMs();
  const { action } = change;
  try {
    if (action === "open") await open(server, change, nowMs);
    else if (action === "close") await close(server, change, nowMs);
  } catch (error) {
    if (!(error instanceof FirewallError)) throw error;
    counters.add("failed: firewall");
    events.say("error", "failed", change, error.message);
    takeBack(server, change, nowMs, error.message);
    if (action === "open") putBack(server, change.before);
    return false;
  }
  counters.add(action);
  const { seconds } = change;
  const until = new Date(nowMs + seconds * 1000).toISOString();
  const words = action === "open"
    ? `until ${until} (${formatDuration(seconds)})`
    : "";
  events.say(action === "ping" ? "debug" : "info", action, change, words);
  return true;
}

async function open(
  server: Server,
  change: Change,
  nowMs: number,
): Promise<void> {
  const { host, runner, active } = server;
  for (const entry of entriesOf(server, change, nowMs)) {
    await host.check(active.config, entry);
  }
  if (change.inKernel) await prolong(server, change, nowMs);
  else await openGrant(server, change, nowMs);
  server.hasOpened = true;
  for (const entry of entriesOf(server, change, nowMs)) {
    runner.hook(active.config.hooks.open, entry);
  }
}

async function close(
  server: Server,
  change: Change,
  nowMs: number,
): Promise<void> {
  const { before } = change;
  try {
    await closeEntries(server, before, nowMs);
    if (change.inKernel) await prolong(server, change, nowMs);
  } catch (error) {
    putBack(server, before);
    throw error;
  }
  await endTheirConnections(server, before, "close");
  const { hooks } = server.active.config;
  for (const entry of before) server.runner.hook(hooks.close, entry);
}

function runCommand(
  { runner, counters, events, active }: Server,
  change: Change,
  name: string,
): Promise<boolean> {
  const argv = active.config.commands.get(name)!;
  counters.add("run");
  events.say("info", "run", change);
  return runner.run(name, argv, change);
}

// Orders to the firewall.

/** Has a firewall hold exactly what a configuration and the ledger say. */
export function applyAll(
  { runtime, store, fleet }: Server,
  { config, firewall }: Pick<Active, "config" | "firewall">,
): Promise<void> {
  const nowMs = runtime.nowMs();
  firewall.kernel?.setSequences(kernelSequences(config.sequences));
  const grantees = granteesOf(config, fleet);
  const live = store.ledger.live(nowMs)
    .filter(({ client }) => grantees.has(client))
    .map((entry) => {
      const client = grantees.get(entry.client);
      if (!client) return entry;
      return { ...entry, untilMs: latestEnd(client, nowMs, entry.untilMs) };
    });
  const grants = mergeEntries(live.filter(({ untilMs }) => untilMs > nowMs))
    .filter(({ to }) => !to || config.firewall.backend === "nft")
    .filter((grant) => hasHost(config, grant));
  return firewall.apply(config.services, grants, nowMs);
}

/** True unless a grant is for a host behind this machine that a configuration does not name. */
export function hasHost(
  { services }: Config,
  { at }: Pick<LedgerEntry, "at">,
): boolean {
  return at === undefined ||
    services.some((service) => service.at?.includes(at));
}

async function openGrant(
  { store, active: { config, firewall } }: Server,
  { client, address, ports, to }: Change,
  nowMs: number,
): Promise<void> {
  const { backend } = config.firewall;
  if (to && backend !== "nft") {
    throw new FirewallError(`the ${backend} backend cannot forward a port`);
  }
  const entries = store.ledger.ofAddress(address, nowMs);
  // Only the kernel knows whether another's single use is still to come.
  const wanted = entries.filter((entry) =>
    isWithin(entry, ports) && (!entry.once || entry.client === client)
  );
  if (wanted.length === 0) {
    throw new FirewallError("it was taken back before it was opened");
  }
  const touched = mergeEntries(wanted);
  // Among all, another client's single use may stand for this one's.
  const all = [...touched, ...mergeEntries(entries)];
  await firewall.change(touched, all, nowMs);
}

/** Puts right what the kernel ends for all at an address, though others have it for longer. */
async function prolong(
  { store, active: { firewall } }: Server,
  { address, ports, seconds }: Change,
  nowMs: number,
): Promise<void> {
  const entries = store.ledger.ofAddress(address, nowMs);
  const untilMs = nowMs + seconds * 1000;
  // Only the kernel knows whether a single use is still to come.
  const longer = entries.filter((entry) =>
    !entry.once && entry.untilMs > untilMs && isWithin(entry, ports)
  );
  if (longer.length === 0) return;
  await firewall.change(mergeEntries(longer), mergeEntries(entries), nowMs);
}

/** Closes entries that are out of the ledger, or over; what another client has at the same address stays. */
export async function closeEntries(
  { store, active: { firewall } }: Server,
  ended: readonly LedgerEntry[],
  nowMs: number,
): Promise<void> {
  for (const [address, own] of Map.groupBy(ended, (one) => one.address)) {
    const gone = mergeEntries(own);
    const single = gone.filter(({ once }) => once);
    const used = new Set(single.map(({ ports }) => formatPortRange(ports)));
    // Whether it was used is not known: another's single use of the same
    // ports ends with this one, and none is given back.
    const stays = mergeEntries(store.ledger.ofAddress(address, nowMs))
      .filter(({ once, ports }) => !once || !used.has(formatPortRange(ports)));
    // What is left of a range that was closed in part is open by other ports.
    const left = stays.filter(({ once, ports }) =>
      !once && gone.some((grant) => overlapPorts(grant.ports, ports))
    );
    await firewall.change([...gone, ...left], stays, nowMs);
  }
}

/**
 * Ends the connections of those services that say so, but not what another
 * grant allows: with `cut` at every end of a grant, with `kill` when the
 * client, or its policy, closes it.
 */
export async function endTheirConnections(
  { runtime, store, active: { config } }: Server,
  ended: readonly LedgerEntry[],
  by: "close" | "end",
): Promise<void> {
  const ports = config.services.filter(({ cut, kill }) =>
    cut || kill && by === "close"
  ).flatMap((service) => service.ports);
  const concerned = ended.filter(({ at }) => !at).flatMap((entry) =>
    ports.flatMap((range) => {
      const shared = sharedPorts(range, entry.ports);
      return shared ? [{ address: entry.address, ports: shared }] : [];
    })
  );
  if (concerned.length === 0) return;
  const nowMs = runtime.nowMs();
  await endConnections(
    runtime,
    concerned,
    (source, port) =>
      store.ledger.reaching(source, nowMs).some(({ ports, at }) =>
        !at && containsPorts(ports, port)
      ),
  );
}

/** True if a grant is for ports of a service whose connections end with it. */
export function isCut({ services }: Config, { ports }: LedgerEntry): boolean {
  return services.some((service) =>
    service.cut && service.ports.some((range) => overlapPorts(range, ports))
  );
}
