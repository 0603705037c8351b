/**
 * Ranges of ports as elements of sets of intervals. Such a set cannot hold two
 * that share a port, so each address's ranges are cut into pieces.
 * @module
 */

import {
  cutSegments,
  sameSegment,
  type Segment,
} from "../../../values/ports.ts";
import type { Grant } from "../../firewall.ts";
import { holdsIntervals, type TablePlace } from "../rules/sets.ts";
import {
  addElements,
  deleteElements,
  type Element,
  intervalKind,
  kindOf,
} from "./elements.ts";

/** Owner of pieces, and the host that they are of: "192.0.2.1", or "192.0.2.1 10.0.0.5" of a host behind. */
function ownerOf({ address, at }: Pick<Grant, "address" | "at">): string {
  return at === undefined ? address : `${address} ${at}`;
}

/** Reads what {@linkcode ownerOf} writes. */
function partiesOf(owner: string): Pick<Grant, "address" | "at"> {
  const [address = "", at] = owner.split(" ");
  return { address, ...at !== undefined && { at } };
}

/** Pieces of ranges, by {@linkcode ownerOf}. */
export type Pieces = ReadonlyMap<string, readonly Segment[]>;

/** From how many addresses on the dead ones are swept out. */
const SWEEP_FROM = 1024;

/** The pieces that are in the kernel. */
export class NftRanges {
  #known = new Map<string, readonly Segment[]>();
  #sweepAt = SWEEP_FROM;

  /** Pieces that change when the ranges of `grants` become as open as `live` says. */
  changed(grants: readonly Grant[], live: readonly Grant[]): Pieces {
    const wanted = segmentsByAddress(live);
    return new Map(
      grants.filter((grant) => holdsIntervals(kindOf(grant)))
        .map(ownerOf).map((owner) => [owner, wanted.get(owner) ?? []]),
    );
  }

  changeText(
    places: readonly TablePlace[],
    changed: Pieces,
    nowMs: number,
  ): string {
    return [...changed].map(([address, after]) => {
      const before = this.#known.get(address) ?? [];
      const kind = intervalKind(partiesOf(address));
      return places.filter(({ kinds }) => kinds.includes(kind))
        .map((place) => changeSegments(place, address, before, after, nowMs))
        .join("");
    }).join("");
  }

  with(changed: Pieces): Pieces {
    return new Map([...this.#known, ...changed]);
  }

  /** Adds pieces that are in the kernel now, and forgets expired ones, now and then. */
  note(changed: Pieces, nowMs: number): void {
    for (const [address, after] of changed) this.#known.set(address, after);
    if (this.#known.size < this.#sweepAt) return;
    for (const [address, pieces] of this.#known) {
      if (pieces.every(({ untilMs }) => untilMs <= nowMs)) {
        this.#known.delete(address);
      }
    }
    this.#sweepAt = Math.max(SWEEP_FROM, this.#known.size * 2);
  }

  /** Replaces all that is known by what is in the kernel now. */
  adopt(pieces: Pieces): void {
    this.#known = new Map(pieces);
  }
}

/** The ranges of some grants, cut into pieces. */
export function segmentsByAddress(grants: readonly Grant[]): Pieces {
  const ranges = grants.filter((grant) => holdsIntervals(kindOf(grant)));
  return new Map(
    [...Map.groupBy(ranges, ownerOf)].map(([owner, own]) => [
      owner,
      cutSegments(own.map(({ ports, untilMs }) => ({ ...ports, untilMs }))),
    ]),
  );
}

/** Adds all pieces to a place's sets, which are empty. */
export function rangesText(
  place: TablePlace,
  ranges: Pieces,
  nowMs: number,
): string {
  return place.kinds.filter(holdsIntervals).map((kind) => {
    const elements = [...ranges].filter(([address]) =>
      intervalKind(partiesOf(address)) === kind
    ).flatMap(([address, pieces]) => segmentElements(address, pieces));
    return addElements(place, kind, elements, nowMs);
  }).join("");
}

/**
 * Changes one address's pieces of ranges into others; those in both are left
 * alone. A piece whose time is over is not deleted: the kernel does, and
 * deleting what is not there fails.
 */
export function changeSegments(
  place: TablePlace,
  address: string,
  before: readonly Segment[],
  after: readonly Segment[],
  nowMs: number,
): string {
  const gone = before.filter((piece) =>
    piece.untilMs > nowMs && !after.some((other) => sameSegment(piece, other))
  ).map((ports) => ({ ...partiesOf(address), ports, untilMs: null }));
  const fresh = after.filter((piece) =>
    !before.some((other) => sameSegment(piece, other))
  );
  const kind = intervalKind(partiesOf(address));
  return deleteElements(place, kind, gone) +
    addElements(place, kind, segmentElements(address, fresh), nowMs);
}

function segmentElements(
  address: string,
  segments: readonly Segment[],
): Element[] {
  return segments.map((ports) => ({
    ...partiesOf(address),
    ports,
    untilMs: ports.untilMs,
  }));
}
