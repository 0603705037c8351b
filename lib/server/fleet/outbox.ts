/** Grants on their way to the engine: opened here, or closed. */

import { type FleetEngine, FOLDERS } from "../../fleet/fleet.ts";
import { SystemError } from "../../values/errors.ts";
import {
  overlapPorts,
  type PortRange,
  withoutPorts,
} from "../../values/ports.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Server } from "../state/server.ts";
import {
  GRANT_REST_MS,
  grantId,
  type GrantMirror,
  type SharedGrant,
  writeGrant,
} from "./grants.ts";
import type { FleetValues } from "./values.ts";

/** Changes that are written at once. */
const AT_ONCE = 16;

/** Parts of a member that the outbox needs. */
interface Surroundings {
  readonly server: Server;
  readonly engine: FleetEngine;
  readonly mirror: GrantMirror;
  readonly values: FleetValues;
  /** Name of this gateway. */
  readonly name: string;
}

/** Wanted state of each grant in the engine, kept until the engine has it; at most one entry a grant. */
export class Outbox {
  readonly #around: Surroundings;
  readonly #wanted = new Map<string, SharedGrant | null>();
  #sending: Promise<void> | null = null;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** True if a grant is still to be told, or to be dropped. */
  has(id: string): boolean {
    return this.#wanted.has(id);
  }

  /** Has grants that are open here told. Throws SystemError. */
  add(entries: readonly LedgerEntry[]): void {
    const { mirror, name: gateway } = this.#around;
    for (const { client, address, ports, untilMs } of entries) {
      const grant = { client, address, ports, untilMs, gateway };
      mirror.put(grantId(grant), grant);
      this.#wanted.set(grantId(grant), grant);
    }
    this.send();
  }

  /** Has ports dropped from all grants of a client at an address, whichever gateway gave them. Throws SystemError. */
  remove(client: string, address: string, ports: readonly PortRange[]): void {
    const { mirror, server } = this.#around;
    const nowMs = server.runtime.nowMs();
    for (const [id, grant] of mirror.of(client, address, nowMs)) {
      if (!ports.some((range) => overlapPorts(range, grant.ports))) continue;
      mirror.take(id);
      this.#wanted.set(id, null);
      for (const left of withoutPorts(grant.ports, ports)) {
        const rest = { ...grant, ports: left };
        mirror.put(grantId(rest), rest);
        this.#wanted.set(grantId(rest), rest);
      }
    }
    this.send();
  }

  /** Has a grant told again that the engine has lost. */
  again(id: string, grant: SharedGrant): void {
    this.#wanted.set(id, grant);
  }

  /** Begins to tell; what fails stays for the next time. */
  send(): void {
    if (this.#wanted.size === 0) return;
    this.#sending ??= this.#drain().finally(() => this.#sending = null);
  }

  /** Resolves when nothing is being told. */
  async settled(): Promise<void> {
    await this.#sending;
  }

  async #drain(): Promise<void> {
    const { values } = this.#around;
    while (this.#wanted.size > 0) {
      const batch = [...this.#wanted].slice(0, AT_ONCE);
      const write = ([id, grant]: (typeof batch)[number]) =>
        this.#write(id, grant);
      try {
        // What stays of a grant comes before its end.
        await Promise.all(batch.filter(([, grant]) => grant).map(write));
        await Promise.all(batch.filter(([, grant]) => !grant).map(write));
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        const words = `not told to the others yet: ${error.message}`;
        return values.complain("grants", words);
      }
    }
  }

  async #write(id: string, grant: SharedGrant | null): Promise<void> {
    const { engine, values, server } = this.#around;
    const key = FOLDERS.grants + id;
    const leftMs = (grant?.untilMs ?? 0) - server.runtime.nowMs();
    if (!grant) await engine.drop(key);
    else if (leftMs > 0) {
      const value = values.seal(key, writeGrant(grant));
      await engine.put(key, value, leftMs + GRANT_REST_MS);
    }
    if (this.#wanted.get(id) === grant) this.#wanted.delete(id);
  }
}
