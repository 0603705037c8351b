/**
 * This gateway in its fleet: claims what it accepts, and puts together what it
 * tells and hears.
 * @module
 */

import { sha256 } from "../../dialects/crypto/hash.ts";
import {
  type Claim,
  type EngineMark,
  type FleetConfig,
  type FleetEngine,
  FOLDERS,
  type FolderWatch,
} from "../../fleet/fleet.ts";
import { openEngine } from "../../fleet/shared.ts";
import type { Stoppable } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { SystemError } from "../../values/errors.ts";
import type { PortRange } from "../../values/ports.ts";
import { formatDuration } from "../../values/time.ts";
import { attempt } from "../report/log.ts";
import type {
  Claimable,
  Fleet,
  FleetFact,
  SharedClients,
} from "../state/fleet.ts";
import { openFleetDatabase } from "../state/fleet_file.ts";
import type { LedgerEntry } from "../state/ledger.ts";
import type { Server } from "../state/server.ts";
import { FleetBook } from "./clients.ts";
import { GRANT_REST_MS, GrantMirror } from "./grants.ts";
import { BEAT_MS, Link, MARGIN_MS } from "./link.ts";
import { Outbox } from "./outbox.ts";
import { clientsReader, grantsReader, ownReader } from "./readers.ts";
import { FleetValues } from "./values.ts";

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
  readonly #server: Server;
  readonly #config: FleetConfig;
  readonly #values: FleetValues;
  readonly #engine: FleetEngine;
  readonly #book: FleetBook;
  readonly #mirror: GrantMirror;
  readonly #outbox: Outbox;
  readonly #link: Link;
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

  private constructor(
    server: Server,
    config: FleetConfig,
    engine: FleetEngine,
    book: FleetBook,
    mirror: GrantMirror,
    values: FleetValues,
  ) {
    const { runtime, store } = server;
    this.#server = server;
    this.#config = config;
    this.#values = values;
    this.#book = book;
    this.#mirror = mirror;
    this.#engine = engine;
    const { name } = config;
    this.#outbox = new Outbox({ server, engine, mirror, values, name });
    this.#link = new Link(
      server,
      config,
      engine,
      values,
      (awayMs) => this.#reached(awayMs),
      () => {
        attempt(server.log, () => store.setFact("fleet", this.fact));
      },
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
      const fleet = identityOf(config);
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
      const member = new FleetMember(
        server,
        config,
        engine,
        book,
        mirror,
        values,
      );
      return member;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Begins to hear and to tell: the server uses this fleet already. */
  begin(): void {
    const server = this.#server;
    const book = this.#book;
    const values = this.#values;
    const known = book.fact("position") as string | undefined;
    this.#watch = this.#engine.watch([
      {
        name: FOLDERS.clients,
        position: known ?? null,
        reader: clientsReader(server, book, values),
      },
      {
        name: FOLDERS.grants,
        position: null,
        reader: grantsReader(
          server,
          this.#mirror,
          values,
          this.#outbox,
          this.#config.name,
          () => {
            const was = this.#isReplaced;
            this.#isReplaced = false;
            return was;
          },
        ),
      },
      {
        name: this.#link.key,
        position: null,
        reader: ownReader(server, values, (told) => this.#hear(told)),
      },
    ]);
    this.#link.beat();
    this.#timer = server.runtime.every(BEAT_MS, () => this.#link.beat());
  }

  async stop(): Promise<void> {
    this.#timer?.stop();
    await this.#link.settled();
    await this.#outbox.settled();
    await this.#watch?.stop();
    if (!this.#link.cutOff) {
      await this.#engine.drop(this.#link.key).catch(() => {});
    }
    await this.#engine.close();
    attempt(
      this.#server.log,
      () => this.#server.store.setFact("fleet", null),
    );
    this.#book.close();
  }

  get clients(): SharedClients {
    return this.#book;
  }

  /** Returns true if this is the member that a configuration wants. */
  is(config: FleetConfig): boolean {
    return JSON.stringify(config) === JSON.stringify(this.#config);
  }

  /** Reads the clients anew, by another configuration. */
  reread(): void {
    this.#book.reread();
  }

  get fact(): FleetFact {
    const sinceMs = this.#server.runtime.monotonicMs() - RECENT_MS;
    const recent = this.#times.filter(({ atMs }) => atMs > sinceMs).length;
    const times = this.#times.map(({ ms }) => ms).sort((a, b) => a - b);
    const { cutOff } = this.#link;
    const { engine, name } = this.#config;
    return {
      engine,
      name,
      cutOffSinceMs: cutOff?.sinceMs ?? null,
      trouble: cutOff?.why ?? null,
      lagMs: this.#link.lagMs,
      clients: this.#book.size,
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
    const { runtime } = this.#server;
    const { identity, client, timestampMs } = claimed;
    this.#claims++;
    this.trouble = this.#refusal(timestampMs);
    if (this.trouble !== null) return this.#isUnknown();
    const liveMs = timestampMs === null ? FOREVER_MS : this.#claimLiveMs;
    const isLocal = this.#config.without === "local";
    if (isLocal && this.#link.cutOff) {
      return this.#accept(identity, client, liveMs);
    }
    const sinceMs = runtime.monotonicMs();
    const nonce = formatBase64url(runtime.random(9));
    // Where the engine is away, doubts would only gather.
    const along = this.#link.cutOff ? null : this.#outbox.along(opens);
    const claim = await this.#engine.claim(
      keyOf(identity),
      `${this.#config.name} ${this.#link.instance} ${nonce}`,
      liveMs,
      along,
    );
    if (along) this.#outbox.answered(opens, isTold(claim));
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
    this.trouble = `${this.#config.engine} did not answer: ${claim.why}`;
    return this.#isUnknown();
  }

  announce(entries: readonly LedgerEntry[]): void {
    attempt(this.#server.log, () => this.#outbox.add(entries));
  }

  takeBack(entries: readonly LedgerEntry[]): void {
    attempt(this.#server.log, () => this.#outbox.takeBack(entries));
  }

  withdraw(client: string, address: string, ports: readonly PortRange[]): void {
    const { log } = this.#server;
    attempt(log, () => this.#outbox.remove(client, address, ports));
  }

  /**
   * Life of a claim. A stamp may lie ahead by the skew when it is taken, and
   * comes in time until that long after it; clocks differ by the margin.
   */
  get #claimLiveMs(): number {
    const { maxSkewMs } = this.#server.active.config;
    return 2 * maxSkewMs + 2 * MARGIN_MS + CODE_MS;
  }

  /** Reason why nothing with this stamp may be accepted now; null: it may. */
  #refusal(timestampMs: number | null): string | null {
    const { runtime, active: { config } } = this.#server;
    const { engine, staleMs } = this.#config;
    const nowMs = runtime.nowMs();
    if (this.#newsMs === null && this.#link.cutOff) {
      return `${engine} was never reached`;
    }
    const ageMs = nowMs - (this.#newsMs ?? nowMs);
    if (ageMs > staleMs) {
      const age = formatDuration(Math.floor(ageMs / 1000));
      return `no news from ${engine} for ${age}, which is longer than stale`;
    }
    const aheadMs = this.#engine.seen.aheadMs ?? 0;
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
    try {
      const untilMs = this.#server.runtime.nowMs() + liveMs;
      this.#book.noteUnclaimed(identity, client, untilMs);
      return "ours";
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.trouble = error.message;
      return this.#isUnknown();
    }
  }

  /** The engine's data is other than before: nobody knows what was accepted. */
  #replaced(): void {
    const { log, runtime, store } = this.#server;
    log(
      "warn",
      `the data of ${this.#config.engine} is other than before, restored or ` +
        "emptied: what was stamped before now is refused",
    );
    this.#isReplaced = true;
    const nowMs = runtime.nowMs();
    attempt(log, () => {
      store.replay.forget(nowMs);
      for (const { identity, untilMs } of store.replay.live(nowMs)) {
        this.#book.noteUnclaimed(identity, "", untilMs);
      }
    });
  }

  async #reached(awayMs: number): Promise<void> {
    const { runtime, store, log } = this.#server;
    if (awayMs > APART_MS) store.replay.forget(runtime.nowMs());
    this.#outbox.fenced(this.#link.beats);
    await this.#claimLate();
    this.#outbox.send();
    if (runtime.monotonicMs() - this.#heardMs > DEAF_MS) {
      this.#heardMs = runtime.monotonicMs();
      log("debug", "the watch tells nothing: begun anew");
      this.#watch?.again();
    }
    store.setFact("fleet mark", this.#engine.seen.mark);
    this.#mirror.prune(runtime.nowMs() - GRANT_REST_MS);
  }

  /** Claims what was accepted without the engine. Throws SystemError. */
  async #claimLate(): Promise<void> {
    const { runtime, log, counters } = this.#server;
    while (true) {
      const late = this.#book.unclaimed(runtime.nowMs());
      if (late.length === 0) return;
      for (const { identity, client } of late) {
        const claim = await this.#engine.claim(
          keyOf(identity),
          `${this.#config.name} ${this.#link.instance} late`,
          this.#claimLiveMs,
        );
        if (claim.state === "unknown") return;
        this.#book.forgetUnclaimed(identity);
        // Of what other data had, another may have claimed a copy and refused it.
        if (claim.state === "ours" || client === "") continue;
        const [other] = claim.holder.split(" ", 1);
        if (other === this.#config.name) continue;
        counters.add("fleet: accepted twice");
        const words = `accepted twice while apart: a packet of ${client}, ` +
          `by ${other} too`;
        log("warn", words);
      }
    }
  }

  /** Hears this gateway's own heartbeat, or another's of the same name. */
  #hear({ instance, beat, atMs }: Readonly<Record<string, unknown>>): void {
    const { runtime, log, store, sinceMs } = this.#server;
    const toldMs = Number(atMs);
    if (instance === this.#link.instance) {
      this.#heardMs = runtime.monotonicMs();
      this.#newsMs = runtime.nowMs();
      this.#link.lagMs = Math.max(0, this.#newsMs - toldMs);
      attempt(log, () => this.#outbox.heard(Number(beat)));
      attempt(log, () => store.setFact("fleet news", this.#newsMs));
      // The last word of an earlier process is none of another's.
    } else if (toldMs > sinceMs + BEAT_MS) {
      const { name } = this.#config;
      const words = `another gateway has this name, too: give each one its ` +
        "own under fleet.name";
      this.#values.complain(`name ${name}`, words);
    }
  }
}

/** True if what was to be set along with a claim is set; null = nobody knows. */
function isTold(claim: Claim): boolean | null {
  if (claim.state === "unknown") return null;
  return claim.state === "ours" && claim.along;
}

/** Identity of a fleet: where its clients are, and what they are sealed under. */
function identityOf({ engine, prefix, secret }: FleetConfig): string {
  const hash = formatBase64url(sha256(secret).subarray(0, 9));
  return `${engine} ${prefix} ${hash}`;
}

/** The key that is claimed for an identity. */
function keyOf(identity: Uint8Array): string {
  return FOLDERS.accepted + formatBase64url(sha256(identity));
}
