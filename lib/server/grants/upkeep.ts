/**
 * Upkeep that no knock asks for: grants that ended, clients
 * that are gone, a firewall that was changed from outside.
 * @module
 */

import type { Config } from "../../config/config.ts";
import {
  FirewallError,
  type Grant,
  openingKey,
} from "../../firewall/firewall.ts";
import { formatEndpoint } from "../../values/address.ts";
import { clocksOf } from "../state/clock.ts";
import { latestEnd } from "../packet/judge.ts";
import { attempt } from "../report/log.ts";
import { type LedgerEntry, mergeEntries } from "../state/ledger.ts";
import { granteesOf, type Server } from "../state/server.ts";
import {
  applyAll,
  closeEntries,
  endTheirConnections,
  hasHost,
  isCut,
} from "./change.ts";
import { endEntries, putBack } from "./records.ts";

/** Delay before a grant that could not be closed is tried again, milliseconds. */
const CLOSE_AGAIN_MS = 60_000;

/** Takes ended grants out of the ledger, and closes them where the kernel does not. */
export async function sweep(server: Server): Promise<void> {
  const { runtime, store, active } = server;
  const nowMs = runtime.nowMs();
  const over = store.ledger.ended(nowMs);
  if (over.length === 0) return;
  // What is to be cut is closed first: the kernel may be some moments later.
  const { config, firewall } = active;
  const isOurs = (entry: LedgerEntry) =>
    !firewall.endsGrants || isCut(config, entry);
  const closed = await closeEach(server, over.filter(isOurs), nowMs);
  const ended = [...over.filter((entry) => !isOurs(entry)), ...closed];
  if (ended.length === 0) return;
  store.transaction(() => endEntries(server, ended, ""));
  await cutConnections(server, ended);
  runHooks(server, ended);
}

/** Ends the connections of grants that are over; what cannot be ended is an error in the log. */
async function cutConnections(
  server: Server,
  ended: readonly LedgerEntry[],
): Promise<void> {
  try {
    await endTheirConnections(server, ended, "end");
  } catch (error) {
    if (!(error instanceof FirewallError)) throw error;
    server.log("error", error.message);
  }
}

/** Ending of a grant, milliseconds, that is left to the kernel and {@linkcode sweep}. */
const LAST_MS = 2000;

/**
 * Takes grants for one connection out of the ledger that have had it: the
 * firewall knows. Those of a client whose request waits may not be open yet.
 */
export async function endUsed(server: Server): Promise<void> {
  const { runtime, store, queue, active: { firewall } } = server;
  if (!firewall.unused) return;
  const entries = store.ledger.single(runtime.nowMs() + LAST_MS)
    .filter(({ client }) => !queue.hasWaiting(client));
  // What a flush took away was not used.
  if (entries.length === 0 || !await firewall.intact()) return;
  const left = new Set(
    (await firewall.unused(mergeEntries(entries))).map(singleKey),
  );
  const used = entries.filter((entry) => !left.has(singleKey(entry)));
  if (used.length === 0) return;
  store.transaction(() => endEntries(server, used, "it was used", "end"));
  runHooks(server, used);
}

function singleKey(grant: Grant): string {
  return `${openingKey(grant)} ${grant.to ? formatEndpoint(grant.to) : ""}`;
}

/** Ends what a configuration no longer grants: all of clients that it does not name, and what outlives `expires` or `hours`. */
export async function dropGrants(
  server: Server,
  config: Config,
): Promise<void> {
  await dropClients(server, config);
  await shortenGrants(server, config);
}

/** Takes the grants of clients that a configuration does not name out of the ledger, and closes them. */
async function dropClients(server: Server, config: Config): Promise<void> {
  const { runtime, store, log } = server;
  const nowMs = runtime.nowMs();
  const names = granteesOf(config, server.fleet);
  const gone = store.ledger.live(nowMs).filter((entry) =>
    !names.has(entry.client) || !hasHost(config, entry)
  );
  if (gone.length === 0) return;
  const whyOf = ({ client }: LedgerEntry) =>
    names.has(client) ? "the service was removed" : "the client was removed";
  store.transaction(() => {
    for (const entry of gone) endEntries(server, [entry], whyOf(entry));
  });
  try {
    await closeEntries(server, gone, nowMs);
  } catch (error) {
    putBack(server, gone);
    throw error;
  }
  await cutConnections(server, gone);
  runHooks(server, gone);
  for (const [client, own] of Map.groupBy(gone, ({ client }) => client)) {
    log("info", `close ${client}: ${whyOf(own[0]!)}`, { client });
  }
}

/** Ends grants as early as their clients' `expires` and `hours` say in a configuration. */
async function shortenGrants(server: Server, config: Config): Promise<void> {
  const { runtime, store, log } = server;
  const nowMs = runtime.nowMs();
  const grantees = granteesOf(config, server.fleet);
  const shortened: LedgerEntry[] = [];
  const ended: LedgerEntry[] = [];
  const before: LedgerEntry[] = [];
  for (const entry of store.ledger.live(nowMs)) {
    const client = grantees.get(entry.client);
    if (!client) continue;
    const untilMs = latestEnd(client, nowMs, entry.untilMs);
    if (untilMs >= entry.untilMs) continue;
    before.push(entry);
    // A single-use grant may be used already: none is given again.
    if (untilMs <= nowMs || entry.once) ended.push(entry);
    else shortened.push({ ...entry, untilMs });
  }
  if (before.length === 0) return;
  store.transaction(() => {
    endEntries(server, ended, "the client's time is over");
    for (const entry of shortened) {
      store.ledger.remove(entry);
      store.ledger.put(entry);
    }
  });
  try {
    await closeEntries(server, before, nowMs);
  } catch (error) {
    putBack(server, before);
    throw error;
  }
  await endTheirConnections(server, ended, "close");
  runHooks(server, ended);
  for (const client of new Set(before.map((entry) => entry.client))) {
    const words = `${client}: grants end earlier, by expires or hours`;
    log("info", words, { client });
  }
}

/**
 * Restores our rules if another program changed them. A missing jump to
 * our chain is logged here only where the host's rules cannot be read: else
 * the model of them finds what it closes.
 */
export async function care(server: Server): Promise<void> {
  const { log, active, host } = server;
  const problem = host.isRead
    ? null
    : await active.firewall.kernel?.jumpProblem() ?? null;
  if (problem !== server.jumpProblem && !host.isRead) {
    if (problem) log("warn", `no knock can open: ${problem}`);
    else log("info", "knocks can open again");
  }
  server.jumpProblem = problem;
  if (await active.firewall.intact()) return;
  const words = "the firewall or this machine's addresses were changed: " +
    "putting the rules back";
  log("warn", words);
  await applyAll(server, active);
}

/** Closes entries, one address after the other; those that it could. */
async function closeEach(
  server: Server,
  over: readonly LedgerEntry[],
  nowMs: number,
): Promise<LedgerEntry[]> {
  const { log, closeAgainMs } = server;
  const closed: LedgerEntry[] = [];
  for (const [address, own] of Map.groupBy(over, (one) => one.address)) {
    if ((closeAgainMs.get(address) ?? 0) > nowMs) continue;
    closeAgainMs.delete(address);
    try {
      await closeEntries(server, own, nowMs);
      closed.push(...own);
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error;
      // It may go on failing, and must not keep the others open.
      closeAgainMs.set(address, nowMs + CLOSE_AGAIN_MS);
      const words = `cannot end what is open for ${address}, and will try ` +
        `again in ${CLOSE_AGAIN_MS / 1000} s: ${error.message}`;
      log("error", words, { address });
    }
  }
  return closed;
}

function runHooks(
  { runner, active: { config } }: Server,
  ended: readonly LedgerEntry[],
): void {
  for (const entry of ended) runner.hook(config.hooks.close, entry);
}

/**
 * Keeps grants from living longer because the clock was set. Set back: what
 * is left of them stays. Set forward: they end by it, for a machine that
 * slept looks the same. Throws SystemError.
 */
export function followClock(server: Server): void {
  const { runtime, store, log, clock, queue } = server;
  const clocks = clocksOf(runtime);
  const jumpMs = clock.look(clocks);
  if (jumpMs === 0) return;
  if (jumpMs < 0) store.ledger.shift(jumpMs);
  store.replay.shift(jumpMs);
  clock.note(clocks);
  const seconds = Math.round(Math.abs(jumpMs) / 1000);
  const way = jumpMs < 0 ? "back" : "forward";
  log("warn", `the clock was set ${way} by ${seconds} s`);
  attempt(log, () => queue.add(() => applyAll(server, server.active)));
}
