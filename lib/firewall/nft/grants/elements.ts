/**
 * Grants as elements of the nft backend's sets: the scripts that add and
 * delete them. Pure.
 * @module
 */

import { isCanonical, parseAddress } from "../../../values/address.ts";
import { onePort, type PortRange, protocolOf } from "../../../values/ports.ts";
import {
  familyOf,
  FirewallError,
  type Grant,
  lines,
  openingKey,
} from "../../firewall.ts";
import {
  networkKind,
  portsKey,
  type SetKind,
  setName,
  type TablePlace,
} from "../rules/sets.ts";

/** One element: whose, which ports, until when; `untilMs` null = shut. */
export interface Element {
  readonly address: string;
  readonly ports: PortRange;
  /** Host behind this machine; absent: this machine. */
  readonly at?: string;
  /** Unix milliseconds; null = it is taken away. */
  readonly untilMs: number | null;
}

/** The most elements of one statement, so that no line of a script is huge. */
const STATEMENT_ELEMENTS = 1000;

/** Length of the network that a grant is for, in bits of its family; null for an address alone. */
export function networkBits(
  { address }: Pick<Grant, "address">,
): number | null {
  const bits = address.split("/")[1];
  return bits === undefined ? null : Number(bits);
}

/** Kind of the set of intervals for what is open to an address or a network. */
export function intervalKind(one: Pick<Grant, "address" | "at">): SetKind {
  const bits = networkBits(one);
  if (one.at === undefined) return bits === null ? "range" : networkKind(bits);
  return bits === null ? "at" : `at${networkKind(bits)}`;
}

export function kindOf(grant: Grant): SetKind {
  const { address, at, once, ports, to } = grant;
  if (at !== undefined || address.includes("/")) return intervalKind(grant);
  if (to) return once ? "sentonce" : "sent";
  return once ? "once" : ports.first === ports.last ? "allow" : "range";
}

/** The grants that a set of this kind must hold, as it holds them. */
function grantsOf(kind: SetKind, grants: readonly Grant[]): Grant[] {
  if (kind !== "landed") return grants.filter((one) => kindOf(one) === kind);
  return grants.flatMap((grant) => {
    const { to, ports: { protocol } } = grant;
    if (!to) return [];
    return [{ ...grant, ports: onePort(protocol, to.port) }];
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
  const elements = new Map<string, Element>();
  for (const grant of grantsOf(kind, grants)) {
    const { address, ports } = grant;
    elements.set(openingKey(grant), { address, ports, untilMs: null });
  }
  for (const grant of grantsOf(kind, live)) {
    const element = elements.get(openingKey(grant));
    if (!element) continue;
    const untilMs = Math.max(element.untilMs ?? 0, grant.untilMs);
    elements.set(openingKey(grant), { ...element, untilMs });
  }
  return [...elements.values()];
}

/** The elements in a listing of a set of single ports. */
export function parseElements(listing: string): Element[] {
  const found = listing.matchAll(/([0-9a-f.:]+) \. (\d+|tcp|udp) \. (\d+)/g);
  return [...found].flatMap(([, source, name, port]) => {
    const address = parseAddress(source!);
    const protocol = name === "tcp" || name === "udp"
      ? name
      : protocolOf(Number(name));
    if (address === null || !protocol) return [];
    return [{ address, ports: onePort(protocol, Number(port)), untilMs: null }];
  });
}

/**
 * Sets single ports to new ends, whatever they were. An element that is there
 * keeps its old end when it is added again (before Linux 6.11), so it is
 * deleted first; and what is deleted must be there, so it is added first.
 */
export function replaceElements(
  place: TablePlace,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const keys = elements.map((element) => ({ ...element, untilMs: null }));
  return statements("add", place, kind, keys, nowMs) +
    deleteElements(place, kind, keys) +
    addElements(place, kind, elements, nowMs);
}

/** Adds elements to sets that do not hold them. */
export function addElements(
  place: TablePlace,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const live = elements.filter(({ untilMs }) =>
    untilMs !== null && untilMs > nowMs
  );
  return statements("add", place, kind, live, nowMs);
}

export function deleteElements(
  place: TablePlace,
  kind: SetKind,
  elements: readonly Element[],
): string {
  return statements("delete", place, kind, elements, 0);
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

function statements(
  verb: "add" | "delete",
  place: TablePlace,
  kind: SetKind,
  elements: readonly Element[],
  nowMs: number,
): string {
  const found: string[] = [];
  for (const family of place.families) {
    const texts = elements
      .filter(({ address }) => familyOf(address) === family)
      .map((element) => elementText(element, nowMs));
    for (let i = 0; i < texts.length; i += STATEMENT_ELEMENTS) {
      const some = texts.slice(i, i + STATEMENT_ELEMENTS).join(", ");
      const set = setName(kind, family, place.prefix);
      found.push(`${verb} element ${place.table} ${set} { ${some} }`);
    }
  }
  return lines(...found);
}

/** An element as nft reads it: whose, which ports, how much longer. */
export function elementText(element: Element, nowMs: number): string {
  const { address, ports, at, untilMs } = element;
  // Nothing but an address may come to be text of a script.
  if (!isCanonical(address)) {
    throw new FirewallError(`not an address: "${address}"`);
  }
  if (at !== undefined && parseAddress(at) !== at) {
    throw new FirewallError(`not an address: "${at}"`);
  }
  const key = `${address} . ${portsKey(ports)}${at ? ` . ${at}` : ""}`;
  return untilMs === null
    ? key
    : `${key} timeout ${formatTimeout(untilMs - nowMs)}`;
}
