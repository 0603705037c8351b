/**
 * Grants on their way to the engine: opened here, or closed. Those that open
 * are told with the claim where that can be done. Where its answer was lost,
 * nobody knows whether they are told, until the next heartbeat comes back by
 * the watch, behind all that was written before it.
 *
 * docs/models/telling.m is a model of this file: what was closed stays closed.
 */

import { type Along, type Claim, FOLDERS } from "../../fleet/fleet.ts";
import { SystemError } from "../../values/errors.ts";
import {
  formatPortRange,
  overlapPorts,
  type PortRange,
  withoutPorts,
} from "../../values/ports.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import {
  GRANT_REST_MS,
  grantId,
  type SharedGrant,
  writeGrant,
} from "./grants.ts";
import type { FleetParts } from "./values.ts";

/** Changes that are written at once. */
const AT_ONCE = 16;

/** A grant that is told with a claim. */
interface Told {
  /** `dropped` is asked, and dropped by another gateway since. */
  readonly state: "asked" | "dropped" | "told" | "doubtful";
  readonly grant: SharedGrant;
  /** Number of the heartbeat that ends a doubt when it is heard; null: it is still to be sent. */
  readonly due: number | null;
}

/** Wanted state of a grant in the engine. */
interface Wanted {
  /** Null: it is to be dropped. */
  readonly grant: SharedGrant | null;
  /** True for one that is to be as it was, unless it was dropped meanwhile. */
  readonly isBack: boolean;
}

/** Wanted state of each grant in the engine, kept until the engine has it; at most one entry a grant. */
export class Outbox {
  readonly #parts: FleetParts;
  readonly #wanted = new Map<string, Wanted>();
  /** Grants that are told with a claim: on its way, or ours and not announced yet, or given up. */
  readonly #along = new Map<string, Told>();
  /** Number of the last heartbeat that the watch told. */
  #heard = 0;
  #sending: Promise<void> | null = null;

  constructor(parts: FleetParts) {
    this.#parts = parts;
  }

  /** True if news of a grant from the engine is older than what is on its way there. */
  isAhead(id: string, isDropped: boolean): boolean {
    const wanted = this.#wanted.get(id);
    if (wanted && !(wanted.isBack && isDropped)) return true;
    this.#wanted.delete(id);
    const along = this.#along.get(id);
    if (!along || !isDropped) return along !== undefined;
    // Another gateway may have dropped it after the claim had set it: it is told again.
    if (along.state === "told") return this.#along.delete(id);
    if (along.state === "asked") {
      this.#along.set(id, { ...along, state: "dropped" });
    }
    // Nobody knows whether anything newer comes: what was closed is closed.
    return false;
  }

  /** Grants as they are set along with a claim, whose answer has to follow; null: they have to be told by themselves. */
  along(entries: readonly LedgerEntry[]): Along | null {
    const { values, server } = this.#parts;
    const grants = this.#keyed(entries);
    const isBusy = grants.some(([id]) =>
      this.#wanted.has(id) || this.#along.has(id)
    );
    if (isBusy || grants.length === 0 || grants.length > AT_ONCE) return null;
    const untilMs = Math.max(...entries.map(({ untilMs }) => untilMs));
    for (const [id, grant] of grants) {
      this.#along.set(id, { state: "asked", grant, due: null });
    }
    return {
      liveMs: untilMs - server.runtime.nowMs() + GRANT_REST_MS,
      pairs: grants.map(([id, grant]) => {
        const key = FOLDERS.grants + id;
        return { key, value: values.seal(key, writeGrant(grant)) };
      }),
    };
  }

  /** Notes the answer to a claim: its grants are told, or they are not, or nobody knows. */
  answered(entries: readonly LedgerEntry[], claim: Claim): void {
    const isUnknown = claim.state === "unknown";
    const isTold = claim.state === "ours" && claim.along;
    for (const [id, { untilMs }] of this.#keyed(entries)) {
      const along = this.#along.get(id);
      if (along?.state !== "asked" && along?.state !== "dropped") continue;
      if (along.grant.untilMs !== untilMs) continue;
      const state = isTold ? "told" : "doubtful";
      if (isTold ? along.state === "dropped" : !isUnknown) {
        this.#along.delete(id);
      } else this.#along.set(id, { ...along, state });
    }
  }

  /** Has grants that are recorded here told, unless they were told with the claim. */
  add(entries: readonly LedgerEntry[]): void {
    const { mirror } = this.#parts;
    for (const [id, grant] of this.#keyed(entries)) {
      const along = this.#takeTold(id);
      const isTold = along?.state === "told" &&
        along.grant.untilMs === grant.untilMs;
      if (!isTold) this.#wanted.set(id, { grant, isBack: false });
      mirror.put(id, grant);
    }
    this.send();
  }

  /** Has the engine hold of grants what the ledger does: they were told, and are not open. */
  takeBack(entries: readonly LedgerEntry[]): void {
    for (const [id, grant] of this.#keyed(entries)) {
      this.#takeTold(id);
      this.#settle(id, grant);
    }
    this.send();
  }

  /** Notes that a heartbeat has arrived: claims that were given up before it are not carried out any more. */
  fenced(beat: number): void {
    for (const [id, told] of this.#along) {
      if (told.state === "doubtful" && told.due === null) {
        this.#along.set(id, { ...told, due: beat });
      }
    }
    this.heard(this.#heard);
  }

  /** Ends doubts when the watch has told a heartbeat, and so all that was written before it. */
  heard(beat: number): void {
    this.#heard = beat;
    for (const [id, { due, grant }] of this.#along) {
      if (due === null || due > beat) continue;
      this.#along.delete(id);
      const isNewer = this.#wanted.get(id)?.isBack === false;
      if (!isNewer) this.#settle(id, grant);
    }
    this.send();
  }

  /** Takes out what was told of a grant, unless that is in doubt. */
  #takeTold(id: string): Told | undefined {
    const along = this.#along.get(id);
    if (along?.state !== "doubtful") this.#along.delete(id);
    return along;
  }

  #settle(id: string, { client, address, ports }: SharedGrant): void {
    const { mirror, server: { store, runtime } } = this.#parts;
    const held = store.ledger.ofAddress(address, runtime.nowMs())
      .find((entry) =>
        entry.client === client && !entry.once && !entry.to && !entry.at &&
        formatPortRange(entry.ports) === formatPortRange(ports)
      );
    const [[, grant] = [id, null]] = this.#keyed(held ? [held] : []);
    if (grant) mirror.put(id, grant);
    else mirror.take(id);
    this.#wanted.set(id, { grant, isBack: grant !== null });
  }

  #keyed(
    entries: readonly LedgerEntry[],
  ): (readonly [id: string, grant: SharedGrant])[] {
    const { name: gateway } = this.#parts.config;
    return entries.map(({ client, address, ports, untilMs }) => {
      const grant = { client, address, ports, untilMs, gateway };
      return [grantId(grant), grant];
    });
  }

  /** Has ports dropped from all grants of a client at an address, whichever gateway gave them. */
  remove(client: string, address: string, ports: readonly PortRange[]): void {
    const { mirror, server } = this.#parts;
    const nowMs = server.runtime.nowMs();
    for (const [id, grant] of mirror.of(client, address, nowMs)) {
      if (!ports.some((range) => overlapPorts(range, grant.ports))) continue;
      mirror.take(id);
      // One that is on its way is told again.
      this.#takeTold(id);
      this.#wanted.set(id, { grant: null, isBack: false });
      for (const left of withoutPorts(grant.ports, ports)) {
        const rest = { ...grant, ports: left };
        mirror.put(grantId(rest), rest);
        this.#wanted.set(grantId(rest), { grant: rest, isBack: false });
      }
    }
    this.send();
  }

  /** Has a grant told again that the engine has lost. */
  again(id: string, grant: SharedGrant): void {
    this.#wanted.set(id, { grant, isBack: false });
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
    const { values } = this.#parts;
    while (this.#wanted.size > 0) {
      const batch = [...this.#wanted].slice(0, AT_ONCE);
      const write = ([id, wanted]: (typeof batch)[number]) =>
        this.#write(id, wanted);
      try {
        // What stays of a grant comes before its end.
        await Promise.all(batch.filter(([, { grant }]) => grant).map(write));
        await Promise.all(batch.filter(([, { grant }]) => !grant).map(write));
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        const words = `not told to the others yet: ${error.message}`;
        return values.complain("grants", words);
      }
    }
  }

  async #write(id: string, wanted: Wanted): Promise<void> {
    const { grant, isBack } = wanted;
    const { engine, values, server } = this.#parts;
    const key = FOLDERS.grants + id;
    const leftMs = (grant?.untilMs ?? 0) - server.runtime.nowMs();
    if (!grant) await engine.drop(key);
    else if (leftMs > 0) {
      const value = values.seal(key, writeGrant(grant));
      await engine.put(key, value, leftMs + GRANT_REST_MS, isBack);
    }
    if (this.#wanted.get(id) === wanted) this.#wanted.delete(id);
  }
}
