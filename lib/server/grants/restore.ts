/**
 * Puts back what others delete of ours: at once where the kernel tells of it,
 * else by a look once a second.
 * @module
 */

import { NftEvents } from "./events.ts";
import type { Stoppable } from "../../runtime/runtime.ts";
import { attempt } from "../report/log.ts";
import type { Server } from "../state/server.ts";
import { care } from "./upkeep.ts";

/** Interval of asking for the kernel's events, milliseconds. */
const EVENTS_MS = 40;
/** Interval of looks where the kernel does not tell. */
const LOOK_MS = 1000;
/** Shortest pause between two looks, as a multiple of the time that the last one took. */
const PAUSE = 4;

/** Starts to put back what others delete, until it is stopped. */
export async function keepRestored(server: Server): Promise<Stoppable> {
  const { runtime, queue, log } = server;
  const events = await NftEvents.open(runtime);
  let notBeforeMs = -Infinity;
  let isDue = false;
  let isLooking = false;
  const look = async () => {
    isDue = false;
    isLooking = true;
    const startMs = runtime.monotonicMs();
    await attempt(log, () => queue.add(() => care(server)));
    const endMs = runtime.monotonicMs();
    // Every grant of iptables is a change of rules, and a look is two programs.
    const { backend } = server.active.config.firewall;
    const pauseMs = backend === "nft" ? PAUSE * (endMs - startMs) : LOOK_MS;
    notBeforeMs = endMs + pauseMs;
    isLooking = false;
  };
  const timers = [
    runtime.every(LOOK_MS, () => {
      const { tables = null } = server.active.firewall;
      if (tables === null || events && tables.length > 0) return;
      isDue = true;
      if (!isLooking) look();
    }),
  ];
  if (events) {
    timers.push(runtime.every(EVENTS_MS, () => {
      const { tables = [] } = server.active.firewall;
      if (events.changed(tables)) isDue = true;
      const nowMs = runtime.monotonicMs();
      if (isDue && !isLooking && nowMs >= notBeforeMs) look();
    }));
  }
  return {
    stop() {
      for (const timer of timers) timer.stop();
      events?.close();
    },
  };
}
