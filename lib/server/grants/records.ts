import {
  formatPortRange,
  overlapPorts,
  type PortRange,
  withoutPorts,
} from "../../values/ports.ts";
import type { EventLog } from "../report/events.ts";
import { isWithin, type Ledger, type LedgerEntry } from "../state/ledger.ts";
import type { Store } from "../state/store.ts";
import type { Deed, Granted } from "./deed.ts";
import type { ActiveConfig } from "./active.ts";
import { SystemError } from "../../values/errors.ts";

/** No more grants than this are open at a time, whoever asks. */
const MAX_GRANTS = 250_000;

/**
 * No more of them than this are for one client at one address; of one with
 * wide ranges they would be as many as there are ports, each looked at with
 * every change.
 */
const MAX_GRANTS_AT_ADDRESS = 1024;

/** What records are written with. */
export interface RecordsParts {
  readonly store: Store;
  readonly chronicle: EventLog;
  readonly inForce: ActiveConfig;
}

/** Writes down what was decided, and takes it back. */
export class Records {
  readonly #parts: RecordsParts;

  constructor(parts: RecordsParts) {
    this.#parts = parts;
  }

  /**
   * Writes down what was decided; the client's entries for these ports as they
   * were, which a `close` ends: of a range the part that it names. Belongs in
   * a transaction: throws SystemError, also where there is no room.
   */
  record(deed: Deed, granted: Granted, nowMs: number): LedgerEntry[] {
    const { store: { ledger }, chronicle } = this.#parts;
    // Pings are only counted: they would push all else out of the history.
    if (deed.action !== "ping") chronicle.remember(deed.action, deed, granted);
    const own = ledger.ofAddress(granted.address, nowMs).filter(({ client }) =>
      client === deed.client
    );
    if (deed.action === "close") return takeOut(ledger, own, granted.ports);
    if (deed.action === "open") {
      checkRoom(ledger, own, granted);
      for (const entry of this.entriesOf(deed, granted, nowMs)) {
        ledger.put(entry);
      }
    }
    return own.filter((entry) => isWithin(entry, granted.ports));
  }

  /** Writes down that a deed could not be done: what it was to open is not open. */
  takeBack(
    deed: Deed,
    granted: Granted,
    nowMs: number,
    reason: string,
  ): void {
    const { store, chronicle } = this.#parts;
    try {
      chronicle.remember("failed", deed, granted, reason);
      if (deed.action !== "open") return;
      for (const entry of this.entriesOf(deed, granted, nowMs)) {
        store.ledger.remove(entry);
      }
    } catch (error) {
      chronicle.sayTrouble(error);
    }
  }

  /** Has the ledger say again what is still open. */
  putBack(entries: readonly LedgerEntry[]): void {
    const { store, chronicle } = this.#parts;
    try {
      for (const entry of entries) store.ledger.put(entry);
    } catch (error) {
      chronicle.sayTrouble(error);
    }
  }

  /** Takes entries out of the ledger for good. Belongs in a transaction: throws SystemError. */
  end(entries: readonly LedgerEntry[], reason: string): void {
    const { store, chronicle } = this.#parts;
    for (const entry of entries) {
      store.ledger.remove(entry);
      chronicle.rememberEnd(entry, reason);
    }
  }

  /** What the ledger says of a deed that opens: an entry for each of its ports. */
  entriesOf(
    { client }: Deed,
    { address, ports, seconds, to }: Granted,
    nowMs: number,
  ): LedgerEntry[] {
    const untilMs = nowMs + seconds * 1000;
    const once = this.#parts.inForce.isOnce(client);
    return ports.map((ports) => ({
      client,
      address,
      ports,
      sinceMs: nowMs,
      untilMs,
      once,
      to,
    }));
  }
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
  { address, ports }: Granted,
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
