/**
 * The interface of every firewall backend. A backend opens and ends grants;
 * it decides nothing. What it says it has done is done: it throws
 * {@linkcode FirewallError} otherwise, with nothing half-open.
 * @module
 */

import type { Endpoint } from "../values/address.ts";
import type { PortRange, Protocol } from "../values/ports.ts";

/** Who may reach which ports, and until when. */
export interface Grant {
  /** Canonical. */
  readonly address: string;
  /** One port, or a range. */
  readonly ports: PortRange;
  /** Unix milliseconds. */
  readonly untilMs: number;
  /** Ends with the first new connection that uses it. */
  readonly once: boolean;
  /** For comments and messages; several clients may share a grant. */
  readonly client: string;
}

/** What the services are, as far as a firewall must know. */
export interface Guarded {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** Where connections go, for forwarded and proxied services. */
  readonly to: Endpoint | null;
}

/** The firewall said no, or cannot be used. */
export class FirewallError extends Error {
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

export interface Firewall {
  /** The backend's name in the configuration, and how it works: "nft (libnftables 1.0.6)". */
  readonly name: string;

  /**
   * Sets up, or mends, all that is ours, so that exactly these services are
   * guarded and exactly these grants are open. Safe to repeat: a server that
   * starts again or reloads calls it too; there is no moment in which a
   * guarded port is open to everybody.
   */
  apply(
    services: readonly Guarded[],
    grants: readonly Grant[],
    nowMs: number,
  ): Promise<void>;

  /**
   * Opens each grant until its end; one that is open already gets this end,
   * so a caller hands in the later of the two. `all` are all live grants of
   * the addresses concerned, these included.
   */
  open(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void>;

  /** Ends these grants at once; one that has ended already is no error. `all` is what stays for these addresses. */
  close(
    grants: readonly Grant[],
    all: readonly Grant[],
    nowMs: number,
  ): Promise<void>;

  /**
   * Looks whether all that is ours is still in place; false when somebody
   * flushed or changed it (then the server applies it again).
   */
  intact(): Promise<boolean>;

  /** Stops what runs inside this process. Guarded ports stay guarded. */
  stop(): Promise<void>;

  /** Takes all that is ours back: what was guarded is as it was before. */
  remove(): Promise<void>;
}

export type { Endpoint, PortRange, Protocol };
