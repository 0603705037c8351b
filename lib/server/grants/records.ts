/** Records changes in the ledger and the history, and undoes them. */

import type { Action, PolicyRefusal } from "../../dialects/dialect.ts";
import { type Endpoint, isIpv4 } from "../../values/address.ts";
import { SystemError } from "../../values/errors.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
  sharedPorts,
  withoutPorts,
} from "../../values/ports.ts";
import { attempt, type Subject } from "../report/log.ts";
import { isWithin, type Ledger, type LedgerEntry } from "../state/ledger.ts";
import type { Claimable } from "../state/fleet.ts";
import { clientOf, isOnce, type Server } from "../state/server.ts";

/** Most open grants at a time, of all clients. */
const MAX_GRANTS = 250_000;

/**
 * No more of them than this are for one client at one address; of one with
 * wide ranges they would be as many as there are ports, each looked at with
 * every change.
 */
const MAX_GRANTS_AT_ADDRESS = 1024;

/** A change that was decided on: who asked for it, and what is to be done. */
export interface Change extends Subject {
  readonly action: Action;
  /** Target of the connections; null: where they go anyway. */
  readonly to: Endpoint | null;
  /** Name of the command that a client has run; null for all else. */
  readonly run: string | null;
  /** True if it opens for less time than was asked for. */
  readonly capped?: boolean;
  /** Address that the reply names, within the network that `address` may be; absent: the same. */
  readonly reported?: string;
  /** True when the kernel has done it by itself already. */
  readonly inKernel: boolean;
  /** The ledger's entries for these ports as they were before. */
  readonly before: readonly LedgerEntry[];
}

/** A change that was judged, and that the fleet has to grant to this gateway before it is recorded. */
export interface PendingChange {
  readonly change: Omit<Change, "before">;
  /** The packet, and its one-time code where it has one. */
  readonly claims: readonly (Claimable & {
    readonly of: "packet" | "code";
    /** Called when another gateway has it; absent: nothing is to be done. May throw SystemError. */
    readonly taken?: () => void;
  })[];
  /** Records what belongs to it, in the same transaction. */
  readonly note: () => void;
  /** Time of the judgement, Unix milliseconds. */
  readonly decidedMs: number;
}

/** A change that is recorded already, or pending, or that nothing is to be done, which was reported. */
export type Decision =
  | { readonly ok: true; readonly change: Change }
  | { readonly ok: true; readonly pending: PendingChange }
  | {
    readonly ok: false;
    readonly status: "refused" | "failed";
    /** Reason for the client, if its policy refused it. */
    readonly reason?: PolicyRefusal;
    /** The address that was asked for; canonical. */
    readonly address: string;
  };

/**
 * Records a change and returns it with the client's entries for these ports as
 * they were, which a `close` ends: of a range the part that it names. Belongs
 * in a transaction: throws SystemError, also where there is no room.
 */
export function record(
  server: Server,
  change: Omit<Change, "before">,
  nowMs: number,
): Change {
  const { store: { ledger }, events } = server;
  const { action, client, address, ports } = change;
  // Pings are only counted: they would push all else out of the history.
  if (action !== "ping") events.remember(action, change);
  const own = ledger.ofAddress(address, nowMs).filter((entry) =>
    entry.client === client
  );
  if (action === "close") {
    return { ...change, before: takeOut(ledger, own, ports) };
  }
  if (action === "open") {
    checkRoom(ledger, own, change);
    for (const entry of entriesOf(server, change, nowMs)) ledger.put(entry);
  }
  return { ...change, before: own.filter((entry) => isWithin(entry, ports)) };
}

/** Records that a change could not be done: what it was to open is not open. */
export function takeBack(
  server: Server,
  change: Change,
  nowMs: number,
  reason: string,
): void {
  const { store, events, log } = server;
  attempt(log, () => {
    events.remember("failed", change, reason);
    if (change.action !== "open") return;
    for (const entry of entriesOf(server, change, nowMs)) {
      store.ledger.remove(entry);
    }
  });
}

/** Puts entries back into the ledger: they are still open. */
export function putBack(
  { store, log }: Server,
  entries: readonly LedgerEntry[],
): void {
  attempt(log, () => {
    for (const entry of entries) store.ledger.put(entry);
  });
}

/** Takes entries out of the ledger for good. Belongs in a transaction: throws SystemError. */
export function endEntries(
  { store, events }: Server,
  entries: readonly LedgerEntry[],
  reason: string,
  event: "end" | "close" = reason ? "close" : "end",
): void {
  for (const entry of entries) {
    store.ledger.remove(entry);
    events.rememberEnd(entry, event, reason);
  }
}

/** The ledger's entries for a change that opens: one for each of its ports. */
export function entriesOf(
  server: Server,
  { client, address, ports, seconds, to, capped }: Omit<Change, "before">,
  nowMs: number,
): LedgerEntry[] {
  const untilMs = nowMs + seconds * 1000;
  const once = isOnce(server, client);
  return placesOf(server, client, address, ports, to).map((place) => ({
    client,
    address,
    ...place,
    sinceMs: nowMs,
    untilMs,
    once,
    to,
    ...capped && { capped },
  }));
}

/**
 * Ports that a client's request means, each with the host that it is of: this
 * machine's own, and those of hosts behind it that the client may open.
 */
function placesOf(
  server: Server,
  name: string,
  address: string,
  ports: readonly PortRange[],
  to: Endpoint | null,
): Pick<LedgerEntry, "ports" | "at">[] {
  const { services } = server.active.config;
  const { behind = [], here = [] } = clientOf(server, name) ?? {};
  if (behind.length === 0 || to) return ports.map((ports) => ({ ports }));
  const shared = (wanted: readonly PortRange[]) => {
    const found = ports.flatMap((range) =>
      wanted.flatMap((one) => sharedPorts(range, one) ?? [])
    );
    return [
      ...new Map(found.map((one) => [formatPortRange(one), one])).values(),
    ];
  };
  return [
    ...shared(here).map((ports) => ({ ports })),
    ...services.filter((service) => behind.includes(service.name))
      .flatMap(({ at: hosts = [], ports }) =>
        hosts.filter((at) => isIpv4(at) === isIpv4(address))
          .flatMap((at) => shared(ports).map((ports) => ({ ports, at })))
      ),
  ];
}

/** Takes ports out of a client's own entries at an address; the entries as they were. */
function takeOut(
  ledger: Ledger,
  own: readonly LedgerEntry[],
  ports: readonly PortRange[],
): LedgerEntry[] {
  const ended = own.filter((entry) =>
    ports.some((range) => overlapPorts(range, entry.ports))
  );
  for (const entry of ended) ledger.remove(entry);
  const left = ended.flatMap((entry) =>
    withoutPorts(entry.ports, ports).map((ports) => ({ ...entry, ports }))
  );
  const held = own.length - ended.length;
  // Where there is no room for what is left of ranges, that ends, too.
  if (held + left.length <= MAX_GRANTS_AT_ADDRESS) {
    for (const entry of left) ledger.put(entry);
  }
  return ended;
}

/** Throws SystemError where there is no room for what is to be opened. */
function checkRoom(
  ledger: Ledger,
  own: readonly LedgerEntry[],
  { address, ports }: Subject,
): void {
  if (!ledger.hasRoom(ports.length, MAX_GRANTS)) {
    throw new SystemError("", `${MAX_GRANTS} grants are open already`);
  }
  if (own.length < MAX_GRANTS_AT_ADDRESS) return;
  const held = new Set(own.map((entry) => formatPortRange(entry.ports)));
  if (ports.every((range) => held.has(formatPortRange(range)))) return;
  const words = `${own.length} grants are open for ${address} already`;
  throw new SystemError("", words);
}
