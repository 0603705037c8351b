/** The grants that have a rule of iptables, by what they open. Pure. */

import { type Family, familyOf } from "../family.ts";
import type { Grant } from "../firewall.ts";
import { openingKey } from "../opening.ts";

/** Each opening once. */
export type Held = ReadonlyMap<string, Grant>;

/** Takes these grants for held; the last of each opening. */
export function hold(grants: readonly Grant[]): Held {
  return new Map(grants.map((grant) => [openingKey(grant), grant]));
}

/** Those whose time is not over. */
export function alive(held: Held, nowMs: number): Held {
  return new Map([...held].filter(([, { untilMs }]) => untilMs > nowMs));
}

/** Those that are left when what `grants` open is as open as `live` says. */
export function changeHeld(
  held: Held,
  grants: readonly Grant[],
  live: readonly Grant[],
  nowMs: number,
): Held {
  const after = new Map(alive(held, nowMs));
  const keys = new Set(grants.map(openingKey));
  for (const key of keys) after.delete(key);
  for (const grant of live) {
    const key = openingKey(grant);
    if (!keys.has(key) || grant.untilMs <= nowMs) continue;
    const other = after.get(key);
    if (!other || other.untilMs < grant.untilMs) after.set(key, grant);
  }
  return after;
}

/** Those of one family. */
export function ofFamily(family: Family, held: Held): Grant[] {
  return [...held.values()].filter(({ address }) =>
    familyOf(address) === family
  );
}

/** Those that are not, just as they are, among others. */
export function without(held: Held, other: Held): Held {
  return new Map([...held].filter(([key, grant]) => other.get(key) !== grant));
}
