/** Doors of knockd, and which of them belong together. */

import { formatPortRange } from "../../values/ports.ts";
import { type Opening, readOpening } from "./knockd_command.ts";
import type { Door } from "./knockd_conf.ts";

/** What a door's commands come down to: a plain opening, or programs to run. */
export interface Effect {
  readonly opening: Opening | null;
  /** Whether its own stop command closes again. */
  readonly closes: boolean;
}

/** A door, and what becomes of it. */
export interface Entry {
  readonly door: Door;
  readonly name: string;
  readonly effect: Effect;
  /** The door that closes what this one opens. */
  readonly closer: Door | null;
}

/** What a door's commands come down to. */
export function effectOf(door: Door): Effect {
  const none = { opening: null, closes: false };
  const opening = door.start === null ? null : readOpening(door.start);
  if (!opening) return none;
  // The commands for IPv6 must do the same, or they are not carried over.
  const other = door.start6 === null ? opening : readOpening(door.start6);
  if (!other || !sameOpening(opening, other)) return none;
  if (!door.stop) return { opening, closes: false };
  const stop = readOpening(door.stop);
  const stop6 = door.stop6 === null ? stop : readOpening(door.stop6);
  const undoes = stop?.action === "close" && samePorts(stop, opening) &&
    stop6 !== null && sameOpening(stop, stop6);
  return undoes && opening.action === "open" ? { opening, closes: true } : none;
}

function sameOpening(a: Opening, b: Opening): boolean {
  return a.action === b.action && samePorts(a, b);
}

function samePorts(a: Opening, b: Opening): boolean {
  const key = ({ ports }: Opening) => ports.map(formatPortRange).sort().join();
  return key(a) === key(b);
}

/** Puts a door that only closes to the one that opens the same. */
export function pairDoors(entries: readonly Entry[]): Entry[] {
  const closers = new Map<Entry, Entry>();
  for (const entry of entries) {
    const { opening } = entry.effect;
    if (opening?.action !== "close" || entry.door.oneTime) continue;
    const opener = entries.find(({ door, effect }) =>
      effect.opening?.action === "open" && !door.oneTime &&
      samePorts(effect.opening, opening) && door.target === entry.door.target &&
      door.tcpFlags.join() === entry.door.tcpFlags.join()
    );
    if (opener && ![...closers.values()].includes(opener)) {
      closers.set(entry, opener);
    }
  }
  return entries.filter((entry) => !closers.has(entry)).map((entry) => {
    const [closer] = [...closers].find(([, opener]) => opener === entry) ?? [];
    return { ...entry, closer: closer?.door ?? null };
  });
}
