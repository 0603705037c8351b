/**
 * The last third of a packet's way: what was decided and recorded is done, one
 * change of the firewall after the other, and answered. Protocol, "The order
 * of judging", step 9.
 * @module
 */

import type { Answer } from "../../dialects/dialect.ts";
import { FirewallError } from "../../firewall/firewall.ts";
import type { PortRange } from "../../values/ports.ts";
import { settle, tellDone, tellOpening } from "../fleet/settle.ts";
import { formatUntil } from "../report/events.ts";
import type { Server } from "../state/server.ts";
import {
  closeEntries,
  endTheirConnections,
  openGrant,
  prolong,
} from "./orders.ts";
import {
  type Change,
  type Decision,
  entriesOf,
  putBack,
  takeBack,
} from "./records.ts";

/** The most ports that a reply can count: 16 bits. */
const MAX_COUNT = 0xffff;

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
  return isDone
    ? { status: "done", count: countPorts(ports), seconds, timeMs, address }
    : { ...NOTHING, status: "failed", timeMs, address };
}

const NOTHING = { count: 0, seconds: 0 };

function countPorts(ports: readonly PortRange[]): number {
  let count = 0;
  for (const { first, last } of ports) count += last - first + 1;
  return Math.min(count, MAX_COUNT);
}

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
  const words = action === "open" ? formatUntil(nowMs, change.seconds) : "";
  events.say(action === "ping" ? "debug" : "info", action, change, words);
  return true;
}

async function open(
  server: Server,
  change: Change,
  nowMs: number,
): Promise<void> {
  const { host, runner, active } = server;
  for (const { address, ports, to, at } of entriesOf(server, change, nowMs)) {
    const opened = { address, ports: [ports], to, ...at && { at } };
    await host.check(active.config, opened);
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
