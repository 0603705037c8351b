/**
 * Grants as elements of the nft backend's sets: the scripts that add and
 * delete them. Pure.
 * @module
 */

import { isIpv4, parseAddress } from "../values/address.ts";
import type { PortRange, Protocol } from "../values/ports.ts";
import { FirewallError, type Grant } from "./firewall.ts";
import type { Target } from "./nft_forwards.ts";
import {
  type Family,
  lines,
  mapName,
  type Place,
  portsKey,
  type SetKind,
  setName,
  TABLE,
} from "./nft_sets.ts";
import { cutSegments, sameSegment, type Segment } from "./segments.ts";

/** One element: whose, which ports, until when; `untilMs` null = shut. */
export interface Element {
  readonly address: string;
  readonly ports: PortRange;
  /** Unix milliseconds; null = it is taken away. */
  readonly untilMs: number | null;
}

/** The most elements of one statement, so that no line of a script is huge. */
const STATEMENT_ELEMENTS = 1000;

/** Which set a grant belongs to. */
export function kindOf({ once, ports, to }: Grant): SetKind {
  if (to) return once ? "sentonce" : "sent";
  return once ? "once" : ports.first === ports.last ? "allow" : "range";
}

/** The grants that a set of this kind must hold, as it holds them. */
function grantsOf(kind: SetKind, grants: readonly Grant[]): Grant[] {
  if (kind !== "landed") return grants.filter((one) => kindOf(one) === kind);
  return grants.flatMap((grant) => {
    const { to, ports: { protocol } } = grant;
    if (!to) return [];
    return [{ ...grant, ports: { protocol, first: to.port, last: to.port } }];
  });
}

/**
 * The single ports of some grants as elements, each once, with the latest end
 * of all grants in `live` that open it; null where none does.
 */
export function latestEnds(
  kind: SetKind,
  grants: readonly Grant[],
  live: readonly Grant[],
): Element[] {
  const key = ({ address, ports }: Grant) => `${address} ${portsKey(ports)}`;
  const elements = new Map<string, Element>();
  for (const grant of grantsOf(kind, grants)) {
    const { address, ports } = grant;
    elements.set(key(grant), { address, ports, untilMs: null });
  }
  for (const grant of grantsOf(kind, live)) {
    const element = elements.get(key(grant));
    if (!element) continue;
    const untilMs = Math.max(element.untilMs ?? 0, grant.untilMs);
    elements.set(key(grant), { ...element, untilMs });
  }
  return [...elements.values()];
}

/** The ranges of some grants, cut into pieces, by address. */
export function segmentsByAddress(
  grants: readonly Grant[],
): Map<string, Segment[]> {
  const ranges = new Map<string, Segment[]>();
  for (const grant of grants) {
    if (kindOf(grant) !== "range") continue;
    const { address, ports, untilMs } = grant;
    const own = ranges.get(address) ?? [];
    own.push({ ...ports, untilMs });
    ranges.set(address, own);
  }
  for (const [address, own] of ranges) ranges.set(address, cutSegments(own));
  return ranges;
}

/** The elements in a listing of a set of single ports. */
export function parseElements(listing: string): Element[] {
  const found = listing.matchAll(/([0-9a-f.:]+) \. (\d+|tcp|udp) \. (\d+)/g);
  return [...found].flatMap(([, source, number, portText]) => {
    const address = parseAddress(source!);
    const protocol = PROTOCOLS[number!];
    const port = Number(portText);
    if (address === null || !protocol) return [];
    return [{
      address,
      ports: { protocol, first: port, last: port },
      untilMs: null,
    }];
  });
}

/** Protocols as nft lists them, by number (IANA) or by name. */
const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  6: "tcp",
  17: "udp",
  tcp: "tcp",
  udp: "udp",
};

/**
 * Sets single ports to new ends, whatever they were. An element that is there
 * keeps its old end when it is added again (before Linux 6.11), so it is
 * deleted first; and what is deleted must be there, so it is added first.
 */
export function replaceElements(
  place: Place,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const keys = elements.map((element) => ({ ...element, untilMs: null }));
  const live = elements.filter(({ untilMs }) => isLive(untilMs, nowMs));
  return statements("add", place, kind, keys, nowMs) +
    statements("delete", place, kind, keys, nowMs) +
    statements("add", place, kind, live, nowMs);
}

/** Adds elements to sets that do not hold them. */
export function addElements(
  place: Place,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const live = elements.filter(({ untilMs }) => isLive(untilMs, nowMs));
  return statements("add", place, kind, live, nowMs);
}

/**
 * Changes one address's pieces of ranges into others; those in both are left
 * alone. A piece whose time is over is not deleted: the kernel does, and
 * deleting what is not there fails.
 */
export function changeSegments(
  place: Place,
  address: string,
  before: readonly Segment[],
  after: readonly Segment[],
  nowMs: number,
): string {
  const gone = before.filter((piece) =>
    isLive(piece.untilMs, nowMs) &&
    !after.some((other) => sameSegment(piece, other))
  );
  const fresh = after.filter((piece) =>
    isLive(piece.untilMs, nowMs) &&
    !before.some((other) => sameSegment(piece, other))
  );
  return statements(
    "delete",
    place,
    "range",
    gone.map((ports) => ({ address, ports, untilMs: null })),
    nowMs,
  ) + statements("add", place, "range", segmentElements(address, fresh), nowMs);
}

/** One address's pieces as elements. */
export function segmentElements(
  address: string,
  segments: readonly Segment[],
): Element[] {
  return segments.map((ports) => ({ address, ports, untilMs: ports.untilMs }));
}

/** Writes milliseconds, at least one, as nft reads them: `1d0h0m30s500ms`. */
export function formatTimeout(ms: number): string {
  // nft refuses a single number of more than some thousand million, and takes
  // an element with a timeout of zero for one that never ends.
  const whole = Math.max(1, Math.ceil(ms));
  const seconds = Math.floor(whole / 1000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
    [whole % 1000, "ms"],
  ];
  return parts.filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`).join("");
}

/** Where a grant with a target of its own leads, as far as the kernel was told. */
export interface Led {
  readonly address: string;
  readonly ports: PortRange;
  readonly target: Target;
  /** Unix milliseconds. */
  readonly untilMs: number;
}

/**
 * How much longer than its grant a target is known: the set of grants decides
 * alone, and must never find one that leads nowhere.
 */
const TARGET_SLACK_MS = 1000;

/** Writes where a grant leads in place of `before`; null = it is not known to lead elsewhere. */
export function leadText(led: Led, before: Led | null, nowMs: number): string {
  const { address, ports, target, untilMs } = led;
  const family: Family = isIpv4(address) ? 4 : 6;
  const map = `${TABLE} ${mapName(family)}`;
  const key = elementText({ address, ports, untilMs: null }, nowMs);
  const end = (target: Target) => {
    if (parseAddress(target.address) !== target.address) {
      throw new FirewallError(`not an address: "${target.address}"`);
    }
    return `${target.address} . ${target.port}`;
  };
  const old = end((before ?? led).target);
  const timeout = formatTimeout(untilMs + TARGET_SLACK_MS - nowMs);
  // As in replaceElements(); what is added over another target is refused.
  return lines(
    `add element ${map} { ${key} : ${old} }`,
    `delete element ${map} { ${key} : ${old} }`,
    `add element ${map} { ${key} timeout ${timeout} : ${end(target)} }`,
  );
}

function isLive(untilMs: number | null, nowMs: number): boolean {
  return untilMs !== null && untilMs > nowMs;
}

function statements(
  verb: "add" | "delete",
  place: Place,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const found: string[] = [];
  for (const family of place.families) {
    const texts = elements
      .filter(({ address }) => isIpv4(address) === (family === 4))
      .map((element) => elementText(element, nowMs));
    for (let i = 0; i < texts.length; i += STATEMENT_ELEMENTS) {
      const some = texts.slice(i, i + STATEMENT_ELEMENTS).join(", ");
      const set = setName(kind, family, place.prefix);
      found.push(`${verb} element ${place.table} ${set} { ${some} }`);
    }
  }
  return lines(...found);
}

function elementText(element: Element, nowMs: number): string {
  const { address, ports, untilMs } = element;
  // Nothing but an address may come to be text of a script.
  if (parseAddress(address) !== address) {
    throw new FirewallError(`not an address: "${address}"`);
  }
  const key = `${address} . ${portsKey(ports)}`;
  return untilMs === null
    ? key
    : `${key} timeout ${formatTimeout(untilMs - nowMs)}`;
}
