/**
 * This gateway in its fleet: claims what it accepts, and puts together what it
 * tells and hears.
 * @module
 */

import { sha256 } from "../../dialects/crypto/hash.ts";
import {
  type EngineMark,
  type FleetConfig,
  FOLDERS,
  type FolderWatch,
} from "../../fleet/fleet.ts";
import { openEngine } from "../../fleet/shared.ts";
import type { Stoppable } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { ifRefused } from "../../values/errors.ts";
import type { PortRange } from "../../values/ports.ts";
import { formatDuration } from "../../values/time.ts";
import { attempt } from "../report/log.ts";
import type { Claimable, Fleet, FleetFact } from "../state/fleet.ts";
import { openFleetDatabase } from "../state/fleet_file.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Server } from "../state/server.ts";
import { FleetBook } from "./clients.ts";
import { GRANT_REST_MS, GrantMirror } from "./grants.ts";
import { BEAT_MS, Link, MARGIN_MS } from "./link.ts";
import { Outbox } from "./outbox.ts";
import { clientsReader, grantsReader, ownReader } from "./readers.ts";
import { type FleetParts, FleetValues } from "./values.ts";

/** Age of the last own heartbeat that the watch told, from which on the watch is begun anew, milliseconds. */
const DEAF_MS = 9000;
/** Time apart from the engine after which what was stamped before is refused: its data may have been replaced unseen. */
const APART_MS = 60_000;
/** A one-time code may come this much later than its packet's stamp says. */
const CODE_MS = 90_000;
/** Life of a claim of what bears no time stamp: ten years, in milliseconds. */
const FOREVER_MS = 10 * 365 * 86_400_000;
/** Latest claims whose times are kept, and for how long they count as recent. */
const MAX_TIMES = 1000;
const RECENT_MS = 10_000;

/** A gateway in its fleet. */
export class FleetMember implements Fleet {
  readonly #parts: FleetParts;
  readonly #outbox: Outbox;
  readonly #link: Link;
  readonly clients: FleetBook;
  #watch: FolderWatch | null = null;
  #timer: Stoppable | null = null;
  /** True until the grants of other data than before are read. */
  #isReplaced = false;
  /** The last own heartbeat that the watch told, by the monotonic clock. */
  #heardMs: number;
  /** The same by Unix time, of an earlier process, too. */
  #newsMs: number | null;
  trouble: string | null = null;
  #claims = 0;
  #unknown = 0;
  /** Latest claims: when they were answered, and after how long. */
  readonly #times: { readonly atMs: number; readonly ms: number }[] = [];

  private constructor(parts: FleetParts) {
    const { log, runtime, store } = parts.server;
    this.#parts = parts;
    this.clients = parts.book;
    this.#outbox = new Outbox(parts);
    this.#link = new Link(
      parts,
      (awayMs) => this.#reached(awayMs),
      () => void attempt(log, () => store.setFact("fleet", this.fact)),
    );
    this.#heardMs = runtime.monotonicMs();
    this.#newsMs = (store.fact("fleet news") ?? null) as number | null;
  }

  /** Joins a fleet; its engine need not answer yet. Throws FailureError and SystemError. */
  static async join(
    server: Server,
    config: FleetConfig,
    load: typeof openEngine = openEngine,
  ): Promise<FleetMember> {
    const { runtime, store } = server;
    const { state } = server.active.config;
    const database = await openFleetDatabase(runtime, state);
    try {
      const values = new FleetValues(server, config);
      const book = new FleetBook(
        database,
        () => server.active.config,
        (what, why) => values.complain(what, why),
      );
      // Clients of another fleet, or under another secret, are none of this one.
      const { engine: name, prefix, secret } = config;
      const hash = formatBase64url(sha256(secret).subarray(0, 9));
      const fleet = `${name} ${prefix} ${hash}`;
      if (book.fact("fleet") !== fleet) {
        book.transaction(() => {
          book.begin();
          book.sweep();
          book.setFact("position", null);
          book.setFact("fleet", fleet);
        });
        book.changed();
      }
      const known = (store.fact("fleet mark") ?? null) as EngineMark | null;
      const mirror = new GrantMirror(database);
      const replaced = () => member.#replaced();
      const engine = await load(runtime, config, known, replaced);
      const parts = { server, config, engine, values, book, mirror };
      const member = new FleetMember(parts);
      return member;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Begins to hear and to tell: the server uses this fleet already. */
  begin(): void {
    const parts = this.#parts;
    const position = (this.clients.fact("position") ?? null) as string | null;
    const takeReplaced = () => {
      const was = this.#isReplaced;
      this.#isReplaced = false;
      return was;
    };
    const grants = grantsReader(parts, this.#outbox, takeReplaced);
    const own = ownReader(parts, (told) => this.#hear(told));
    this.#watch = parts.engine.watch([
      { name: FOLDERS.clients, position, reader: clientsReader(parts) },
      { name: FOLDERS.grants, position: null, reader: grants },
      { name: this.#link.key, position: null, reader: own },
    ]);
    this.#link.beat();
    this.#timer = parts.server.runtime.every(BEAT_MS, () => {
      grants.closeLate();
      this.#link.beat();
    });
  }

  async stop(): Promise<void> {
    const { engine, server } = this.#parts;
    this.#timer?.stop();
    await this.#link.settled();
    await this.#outbox.settled();
    await this.#watch?.stop();
    if (!this.#link.cutOff) await engine.drop(this.#link.key).catch(() => {});
    await engine.close();
    attempt(server.log, () => server.store.setFact("fleet", null));
    this.clients.close();
  }

  /** Returns true if this is the member that a configuration wants. */
  is(config: FleetConfig): boolean {
    return JSON.stringify(config) === JSON.stringify(this.#parts.config);
  }

  get fact(): FleetFact {
    const { server: { runtime }, config: { engine, name } } = this.#parts;
    const sinceMs = runtime.monotonicMs() - RECENT_MS;
    const recent = this.#times.filter(({ atMs }) => atMs > sinceMs).length;
    const times = this.#times.map(({ ms }) => ms).sort((a, b) => a - b);
    const { cutOff } = this.#link;
    return {
      engine,
      name,
      cutOffSinceMs: cutOff?.sinceMs ?? null,
      trouble: cutOff?.why ?? null,
      lagMs: this.#link.lagMs,
      clients: this.clients.size,
      claims: this.#claims,
      unknown: this.#unknown,
      claimsPerSecond: recent * 1000 / RECENT_MS,
      claimMs: times[times.length >> 1] ?? null,
    };
  }

  async claim(
    claimed: Claimable,
    opens: readonly LedgerEntry[],
  ): Promise<"ours" | "taken" | "unknown"> {
    const { server: { runtime }, config, engine } = this.#parts;
    const { identity, client, timestampMs } = claimed;
    this.#claims++;
    this.trouble = this.#refusal(timestampMs);
    if (this.trouble !== null) return this.#isUnknown();
    const liveMs = timestampMs === null ? FOREVER_MS : this.#claimLiveMs;
    const isLocal = config.without === "local";
    if (isLocal && this.#link.cutOff) {
      return this.#accept(identity, client, liveMs);
    }
    const sinceMs = runtime.monotonicMs();
    const nonce = formatBase64url(runtime.random(9));
    // Where the engine is away, doubts would only gather.
    const along = this.#link.cutOff ? null : this.#outbox.along(opens);
    const claim = await engine.claim(
      keyOf(identity),
      `${config.name} ${this.#link.instance} ${nonce}`,
      liveMs,
      along,
    );
    if (along) this.#outbox.answered(opens, claim);
    const atMs = runtime.monotonicMs();
    if (claim.state !== "unknown") {
      this.#times.push({ atMs, ms: atMs - sinceMs });
      if (this.#times.length > MAX_TIMES) this.#times.shift();
      return claim.state;
    }
    // Without any news there may be another's record that this one does not know.
    if (isLocal && this.#newsMs !== null) {
      return this.#accept(identity, client, liveMs);
    }
    this.trouble = `${config.engine} did not answer: ${claim.why}`;
    return this.#isUnknown();
  }

  announce(entries: readonly LedgerEntry[]): void {
    this.#outbox.add(entries);
  }

  takeBack(entries: readonly LedgerEntry[]): void {
    this.#outbox.takeBack(entries);
  }

  withdraw(client: string, address: string, ports: readonly PortRange[]): void {
    this.#outbox.remove(client, address, ports);
  }

  /**
   * Life of a claim. A stamp may lie ahead by the skew when it is taken, and
   * comes in time until that long after it; clocks differ by the margin.
   */
  get #claimLiveMs(): number {
    const { maxSkewMs } = this.#parts.server.active.config;
    return 2 * maxSkewMs + 2 * MARGIN_MS + CODE_MS;
  }

  /** Reason why nothing with this stamp may be accepted now; null: it may. */
  #refusal(timestampMs: number | null): string | null {
    const { runtime, active: { config } } = this.#parts.server;
    const { engine, staleMs } = this.#parts.config;
    const nowMs = runtime.nowMs();
    if (this.#newsMs === null && this.#link.cutOff) {
      return `${engine} was never reached`;
    }
    const ageMs = nowMs - (this.#newsMs ?? nowMs);
    if (ageMs > staleMs) {
      const age = formatDuration(Math.floor(ageMs / 1000));
      return `no news from ${engine} for ${age}, which is longer than stale`;
    }
    const aheadMs = this.#parts.engine.seen.aheadMs ?? 0;
    const apartMs = Math.abs((timestampMs ?? 0) - nowMs - aheadMs);
    if (timestampMs === null || apartMs <= config.maxSkewMs + MARGIN_MS) {
      return null;
    }
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    return `this machine's clock and that of ${engine} are ${seconds} s apart`;
  }

  #isUnknown(): "unknown" {
    this.#unknown++;
    return "unknown";
  }

  /** Accepts by the local record alone; the engine is told when it is back. */
  #accept(
    identity: Uint8Array,
    client: string,
    liveMs: number,
  ): "ours" | "unknown" {
    const untilMs = this.#parts.server.runtime.nowMs() + liveMs;
    return ifRefused(() => {
      this.clients.noteUnclaimed(identity, client, untilMs);
      return "ours";
    }, ({ message }) => {
      this.trouble = message;
      return this.#isUnknown();
    });
  }

  /** The engine's data is other than before: nobody knows what was accepted. */
  #replaced(): void {
    const { server: { log, runtime, store }, config } = this.#parts;
    log(
      "warn",
      `the data of ${config.engine} is other than before, restored or ` +
        "emptied: what was stamped before now is refused",
    );
    this.#isReplaced = true;
    const nowMs = runtime.nowMs();
    attempt(log, () => {
      store.replay.forget(nowMs);
      for (const { identity, untilMs } of store.replay.live(nowMs)) {
        this.clients.noteUnclaimed(identity, "", untilMs);
      }
    });
  }

  async #reached(awayMs: number): Promise<void> {
    const { server: { runtime, store, log }, engine, mirror } = this.#parts;
    if (awayMs > APART_MS) store.replay.forget(runtime.nowMs());
    this.#outbox.fenced(this.#link.beats);
    await this.#claimLate();
    this.#outbox.send();
    if (runtime.monotonicMs() - this.#heardMs > DEAF_MS) {
      this.#heardMs = runtime.monotonicMs();
      log("debug", "the watch tells nothing: begun anew");
      this.#watch?.again();
    }
    store.setFact("fleet mark", engine.seen.mark);
    mirror.prune(runtime.nowMs() - GRANT_REST_MS);
  }

  /** Claims what was accepted without the engine. Throws SystemError. */
  async #claimLate(): Promise<void> {
    const { server, engine, config: { name } } = this.#parts;
    while (true) {
      const late = this.clients.unclaimed(server.runtime.nowMs());
      if (late.length === 0) return;
      for (const { identity, client } of late) {
        const claim = await engine.claim(
          keyOf(identity),
          `${name} ${this.#link.instance} late`,
          this.#claimLiveMs,
        );
        if (claim.state === "unknown") return;
        this.clients.forgetUnclaimed(identity);
        // Of what other data had, another may have claimed a copy and refused it.
        if (claim.state === "ours" || client === "") continue;
        const [other] = claim.holder.split(" ", 1);
        if (other === name) continue;
        server.counters.add("fleet: accepted twice");
        const words = `accepted twice while apart: a packet of ${client}, ` +
          `by ${other} too`;
        server.log("warn", words);
      }
    }
  }

  /** Hears this gateway's own heartbeat, or another's of the same name. */
  #hear({ instance, beat, atMs }: Readonly<Record<string, unknown>>): void {
    const { server, config: { name }, values } = this.#parts;
    const { runtime, log, store, sinceMs } = server;
    const toldMs = Number(atMs);
    if (instance === this.#link.instance) {
      this.#heardMs = runtime.monotonicMs();
      this.#newsMs = runtime.nowMs();
      this.#link.lagMs = Math.max(0, this.#newsMs - toldMs);
      this.#outbox.heard(Number(beat));
      attempt(log, () => store.setFact("fleet news", this.#newsMs));
      // The last word of an earlier process is none of another's.
    } else if (toldMs > sinceMs + BEAT_MS) {
      const words = `another gateway has this name, too: give each one its ` +
        "own under fleet.name";
      values.complain(`name ${name}`, words);
    }
  }
}

/** The key that is claimed for an identity. */
function keyOf(identity: Uint8Array): string {
  return FOLDERS.accepted + formatBase64url(sha256(identity));
}
