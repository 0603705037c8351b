/** Elements of a plan's sets, and the scripts that make them so. Pure. */

import { FAMILIES, type Grant, openingKey } from "../../firewall.ts";
import { allPlaces, type Plan } from "../rules/plan.ts";
import {
  eachSet,
  holdsIntervals,
  mapName,
  ONCE_KINDS,
  type SetKind,
  setName,
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
  return flushText([
    ...setsOf(places, (kind) => !ONCE_KINDS.includes(kind)),
    ...maps,
  ]) +
    places.map((place) =>
      place.kinds.filter((kind) =>
        !holdsIntervals(kind) && !ONCE_KINDS.includes(kind)
      )
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
    eachSet(
      { ...place, kinds: place.kinds.filter(isMeant) },
      (kind, family) =>
        `set ${place.table} ${setName(kind, family, place.prefix)}`,
    )
  );
}

function flushText(objects: readonly string[]): string {
  return objects.map((object) => `flush ${object}\n`).join("");
}
