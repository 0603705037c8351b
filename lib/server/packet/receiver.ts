/**
 * The way of a packet: opened in the dialects that have its form, as far as
 * their budget goes, decided on at once, and answered when it was done.
 * @module
 */

import { hash } from "node:crypto";
import type { Config } from "../../config/config.ts";
import type { Dialect, Opened } from "../../dialects/dialect.ts";
import { createDialects } from "../../dialects/table.ts";
import type {
  Datagrams,
  DatagramSource,
  Runtime,
} from "../../runtime/runtime.ts";
import type { ClockJumps } from "../clock.ts";
import type { Grants } from "../grants/grants.ts";
import type { Log } from "../report/log.ts";
import type { Counters } from "../report/metrics.ts";
import { attempt } from "../report/trouble.ts";
import type { Store } from "../state/store.ts";
import { Gpg } from "./gpg.ts";
import { Budget } from "./limits.ts";
import { SystemError } from "../../values/errors.ts";

/** What a receiver works with. */
export interface ReceiverParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly log: Log;
  readonly counters: Counters;
  readonly keeper: Grants;
  readonly clock: ClockJumps;
}

/** Takes packets from the entrances to the keeper, and replies back. */
export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #gpg: Gpg;
  readonly #budget = new Budget();
  readonly #copies = new Copies();
  /** Packets that are being opened by a slow step. */
  readonly #opening = new Set<Promise<void>>();
  #dialects: readonly Dialect[] = [];

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#gpg = new Gpg(parts.runtime);
  }

  /** Loads the dialects of a configuration's clients; what it returns puts them to use. */
  async prepare(config: Config): Promise<() => void> {
    const dialects = await createDialects(
      config,
      (home, message) => this.#gpg.open(home, message),
    );
    return () => void (this.#dialects = dialects);
  }

  /**
   * Judges one packet, of which one reading may open; the bytes are only valid
   * until it returns. Never throws, whatever came.
   */
  receive(
    readings: readonly Uint8Array[],
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const nowMs = this.#parts.runtime.nowMs();
    this.#parts.counters.add("received");
    let opened: Opened = { ok: false, why: "form" };
    for (const bytes of readings) {
      opened = this.#open(bytes, source, nowMs);
      if (opened.ok || opened.later) break;
    }
    if (opened.ok || !opened.later) this.#decide(opened, source, socket);
    else this.#openLater(opened.later(), source, socket);
  }

  /** Resolves when all that is opened later is decided on. */
  async settled(): Promise<void> {
    await Promise.all(this.#opening);
  }

  /** Opens a packet in the first dialect that can; several may have its form. */
  #open(bytes: Uint8Array, source: DatagramSource, nowMs: number): Opened {
    const { runtime, store: { replay } } = this.#parts;
    const seen = (identity: Uint8Array) => replay.seen(identity);
    let opened: Opened = { ok: false, why: "form" };
    for (const dialect of this.#dialects) {
      if (!dialect.recognises(bytes)) continue;
      const { name } = dialect;
      let mark = "";
      let isCopy = false;
      let startMs = NaN;
      const mayCost = () => {
        const nowMs = runtime.monotonicMs();
        // First, as it costs least: a copy is refused either way.
        if (!this.#budget.allows(name, nowMs)) return false;
        mark = markOf(bytes);
        isCopy = this.#copies.has(mark);
        if (!isCopy) startMs = nowMs;
        return !isCopy;
      };
      opened = dialect.open(bytes, { nowMs, seen, mayCost, source });
      if (isCopy) return COPY;
      if (!Number.isNaN(startMs)) {
        const failed = !opened.ok && !opened.later && opened.why !== "replay";
        if (failed) this.#budget.charge(name, runtime.monotonicMs() - startMs);
        else this.#copies.add(mark);
      }
      if (opened.ok) return opened;
      if (opened.later) return this.#freeing(mark, opened.later);
    }
    return opened;
  }

  /** Opens a packet by its slow step; one that found no room may come again. */
  #freeing(mark: string, later: () => Promise<Opened>): Opened {
    return {
      ok: false,
      why: "busy",
      later: async () => {
        const opened = await later();
        if (!opened.ok && opened.why === "busy") this.#copies.delete(mark);
        return opened;
      },
    };
  }

  #openLater(
    later: Promise<Opened>,
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const opening = later.then((opened) =>
      this.#decide(opened, source, socket)
    );
    this.#opening.add(opening);
    opening.finally(() => this.#opening.delete(opening));
  }

  /** Judges what was opened, by the clock of this moment. */
  #decide(
    opened: Opened,
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    const { runtime, log, counters, keeper, clock } = this.#parts;
    if (!opened.ok) {
      if (opened.answer && socket) {
        return this.#send(socket, opened.answer, source);
      }
      return counters.add(`refused: ${opened.why}`);
    }
    attempt(log, () => clock.look());
    const { request, seal } = opened;
    const answer = keeper.decide(request, source.host, runtime.nowMs());
    if (!answer) return;
    const reply = async () => {
      const settled = await answer;
      if (!socket || !request.wantsReply || !keeper.config.reply) return;
      const bytes = seal(settled, runtime.random(32));
      if (bytes.length > 0) this.#send(socket, bytes, source);
    };
    void reply();
  }

  /** Sends a reply. One that cannot be sent is as good as one that was lost. */
  #send(socket: Datagrams, bytes: Uint8Array, source: DatagramSource): void {
    socket.send(bytes, source).catch((error) => {
      if (!(error instanceof SystemError)) throw error;
      this.#parts.counters.add("failed: reply");
    });
  }
}

const COPY: Opened = Object.freeze({ ok: false, why: "replay" });

/** Most packets remembered byte for byte. */
const MAX_COPIES = 8192;

/**
 * The authentic packets of late, by their SHA-256: refuses their copies for a
 * look-up, whatever their dialect would have to do to recognise them, and
 * whether they were accepted or refused by policy.
 */
class Copies {
  readonly #marks = new Set<string>();

  has(mark: string): boolean {
    return this.#marks.has(mark);
  }

  add(mark: string): void {
    this.#marks.add(mark);
    if (this.#marks.size <= MAX_COPIES) return;
    this.#marks.delete(this.#marks.values().next().value!);
  }

  delete(mark: string): void {
    this.#marks.delete(mark);
  }
}

function markOf(packet: Uint8Array): string {
  return hash("sha256", packet, "base64");
}
