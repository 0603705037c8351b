/** Elements of a plan's sets, the scripts that make them so, and the grants that can be none. */

import type { Runtime } from "../../../runtime/runtime.ts";
import { containsPorts, formatPortRange } from "../../../values/ports.ts";
import {
  FAMILIES,
  familyOf,
  FirewallError,
  type Grant,
  openingKey,
} from "../../firewall.ts";
import { checkTarget } from "../rules/forwards.ts";
import { allPlaces, placesOf, type Plan } from "../rules/plan.ts";
import {
  holdsIntervals,
  mapName,
  ONCE_KINDS,
  type SetKind,
  setNames,
  TABLE,
  type TablePlace,
} from "../rules/sets.ts";
import {
  addElements,
  type Element,
  kindOf,
  latestEnds,
  replaceElements,
} from "./elements.ts";
import { type Pieces, rangesText } from "./ranges.ts";

/** Empties the sets and fills them with these grants, but those for a single use. */
export function fillText(
  plan: Plan,
  grants: readonly Grant[],
  ranges: Pieces,
  nowMs: number,
): string {
  const places = allPlaces(plan);
  const maps = plan.hasTargets
    ? FAMILIES.map((family) => `map ${TABLE} ${mapName(family)}`)
    : [];
  const isKept = (kind: SetKind) => !ONCE_KINDS.includes(kind);
  return flushText([...setsOf(places, isKept), ...maps]) +
    places.map((place) =>
      place.kinds.filter((kind) => !holdsIntervals(kind) && isKept(kind))
        .map((kind) =>
          addElements(place, kind, latestEnds(kind, grants, grants), nowMs)
        ).join("") + rangesText(place, ranges, nowMs)
    ).join("");
}

/** Makes the single ports of `grants` as open as `live` says. */
export function singlesText(
  plan: Plan,
  grants: readonly Grant[],
  live: readonly Grant[],
  nowMs: number,
): string {
  return allPlaces(plan).map((place) =>
    place.kinds.filter((kind) => !holdsIntervals(kind)).map((kind) =>
      replaceElements(place, kind, latestEnds(kind, grants, live), nowMs)
    ).join("")
  ).join("");
}

/** Empties the sets of ranges, and fills them with these. */
export function refillText(plan: Plan, ranges: Pieces, nowMs: number): string {
  const places = allPlaces(plan);
  return flushText(setsOf(places, holdsIntervals)) +
    places.map((place) => rangesText(place, ranges, nowMs)).join("");
}

/**
 * Deletes what is `there` for a single use and is granted no more. What is
 * granted still is left as it is, and none is added: only the kernel knows
 * which were used.
 */
export function usedUpText(
  place: TablePlace,
  kind: SetKind,
  there: readonly Element[],
  grants: readonly Grant[],
): string {
  const kept = new Set(
    grants.filter((grant) => kindOf(grant) === kind).map(openingKey),
  );
  const old = there.filter((element) => !kept.has(openingKey(element)));
  return replaceElements(place, kind, old, 0);
}

/** The sets of some kinds, as nft names them. */
function setsOf(
  places: readonly TablePlace[],
  isMeant: (kind: SetKind) => boolean,
): string[] {
  return places.flatMap((place) =>
    setNames(place, isMeant).map((name) => `set ${place.table} ${name}`)
  );
}

function flushText(objects: readonly string[]): string {
  return objects.map((object) => `flush ${object}\n`).join("");
}

// Grants that nft cannot keep as they are, and why.

/** Throws FirewallError where a grant cannot be kept as it is. */
export function checkGrant(runtime: Runtime, plan: Plan, grant: Grant): void {
  const { address, ports, to } = grant;
  if (isOddRange(grant)) throw rangeError(grant);
  const family = familyOf(address);
  const { host } = placesOf(plan);
  if (host && !host.families.includes(family)) {
    throw new FirewallError(
      `cannot open for ${address}: firewall.chain is of table ${host.table}`,
      "a chain of family inet is for IPv4 and IPv6",
    );
  }
  if (to || ports.first !== ports.last) return;
  const forward = plan.forwards.find((one) =>
    one.ports.some((range) => containsPorts(range, ports))
  );
  if (!forward) return;
  const target = forward.targets.find((one) => one.family === family);
  if (target) return checkTarget(runtime, target);
  throw new FirewallError(
    `cannot open ${formatPortRange(ports)} for ${address}: service ` +
      `"${forward.name}" leads to an address of the other IP version`,
  );
}

/**
 * True for a grant of a range that can be no element: a rule cannot delete from
 * a set of intervals, and a range has no single target.
 */
export function isOddRange({ address, at, once, to, ports }: Grant): boolean {
  const isMany = ports.first !== ports.last || address.includes("/") || at;
  return Boolean((once || to !== null) && isMany);
}

function rangeError({ address, at, once, ports }: Grant): FirewallError {
  if (at) {
    return new FirewallError(
      `cannot open ${at} behind this machine for a single use`,
      "take once out of the client",
    );
  }
  if (address.includes("/")) {
    return new FirewallError(
      `cannot open for the network ${address}: a single use, and a port that ` +
        "leads elsewhere, is for one address",
      "take network or once out of the client",
    );
  }
  const shown = `got "${formatPortRange(ports)}"`;
  return once
    ? new FirewallError(
      `a range of ports cannot be opened for a single use, ${shown}`,
      "list the ports one by one where once is true",
    )
    : new FirewallError(`a range of ports cannot lead to one port, ${shown}`);
}
