/** The fleet, as the way of a packet uses it. */

import type { Client } from "../../config/config.ts";
import type { DialectName } from "../../dialects/dialect.ts";
import type { SharedKeys } from "../../dialects/keys.ts";
import type { PortRange } from "../../values/ports.ts";
import type { LedgerEntry } from "./ledger.ts";

/** Clients that the fleet shares; none of them is kept in memory for long. */
export interface SharedClients
  extends Pick<SharedKeys, "after" | "dialects" | "hasWeb"> {
  /** Finds a client by its name, with services and defaults of the active configuration; null where there is none that is valid. */
  get(name: string): Client | null;
  has(name: string): boolean;
  /** Finds the client with an index of a dialect: see ClientPart. */
  find(dialect: DialectName, index: Uint8Array): Client | null;
  /** Clients whose packets were opened of late. */
  readonly recent: {
    readonly of: SharedKeys["likely"];
    readonly note: SharedKeys["note"];
  };
  /** Clients that no index finds; a bounded number. */
  readonly listed: readonly Client[];
}

/** Identity to claim, and what it is of. */
export interface Claimable {
  readonly identity: Uint8Array;
  /** Name of the client, for messages. */
  readonly client: string;
  /** Time stamp of its packet, Unix milliseconds; null where it bears none. */
  readonly timestampMs: number | null;
}

/** Facts about the fleet that `status` reads. */
export interface FleetFact {
  readonly engine: string;
  readonly name: string;
  /** Unix milliseconds since when the engine is out of reach; null = it answers. */
  readonly cutOffSinceMs: number | null;
  /** Reason, in the engine's or the system's words; null while it answers. */
  readonly trouble: string | null;
  /** Age of the last news from the watch, milliseconds; null before the first. */
  readonly lagMs: number | null;
  readonly clients: number;
  readonly claims: number;
  readonly unknown: number;
  readonly claimsPerSecond: number;
  /** Median of the latest claims, milliseconds; null before the first. */
  readonly claimMs: number | null;
}

/** The fleet that this server belongs to. */
export interface Fleet {
  readonly clients: SharedClients;
  readonly fact: FleetFact;
  /**
   * Claims for this gateway what no gateway may accept twice. Where the engine
   * can, the others are told of grants in the same write: then `announce`, or
   * `takeBack`, has to follow. Never throws.
   */
  claim(
    claimed: Claimable,
    opens: readonly LedgerEntry[],
  ): Promise<"ours" | "taken" | "unknown">;
  /** Reason for which nothing was accepted at the last claim. */
  readonly trouble: string | null;
  /** Tells the others of grants that are recorded here, unless they were told with the claim. Never throws. */
  announce(entries: readonly LedgerEntry[]): void;
  /** Has the others close grants that could not be opened here. Never throws. */
  takeBack(entries: readonly LedgerEntry[]): void;
  /** Has the others close what this client closed here. Never throws. */
  withdraw(client: string, address: string, ports: readonly PortRange[]): void;
}
