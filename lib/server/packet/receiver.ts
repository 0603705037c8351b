/**
 * The way of a packet: opened in the dialects that have its form, as far as
 * their budget goes, decided on at once, and answered when it was done.
 * @module
 */

import { hash } from "node:crypto";
import type { Opened } from "../../dialects/dialect.ts";
import type { Datagrams, DatagramSource } from "../../runtime/runtime.ts";
import { carryOut } from "../grants/change.ts";
import { followClock } from "../grants/upkeep.ts";
import { attempt } from "../report/trouble.ts";
import type { Server } from "../state/server.ts";
import { decide } from "./decide.ts";
import { Budget } from "./limits.ts";
import { SystemError } from "../../values/errors.ts";

/** Takes packets from the entrances to their decision, and replies back. */
export class Receiver {
  readonly #server: Server;
  readonly #budget = new Budget();
  readonly #copies = new Copies();
  /** Packets that are being opened by a slow step. */
  readonly #opening = new Set<Promise<void>>();

  constructor(server: Server) {
    this.#server = server;
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
    const nowMs = this.#server.runtime.nowMs();
    this.#server.counters.add("received");
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
    const { runtime, store: { replay }, active } = this.#server;
    const seen = (identity: Uint8Array) => replay.seen(identity);
    let opened: Opened = { ok: false, why: "form" };
    for (const dialect of active.dialects) {
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
    const server = this.#server;
    const { runtime, log, counters } = server;
    if (!opened.ok) {
      if (opened.answer && socket) {
        return this.#send(socket, opened.answer, source);
      }
      return counters.add(`refused: ${opened.why}`);
    }
    attempt(log, () => followClock(server));
    const { request, seal } = opened;
    const decision = decide(server, request, source.host, runtime.nowMs());
    if (!decision) return;
    const answer = carryOut(server, decision);
    const reply = async () => {
      const settled = await answer;
      if (!socket || !request.wantsReply || !server.active.config.reply) return;
      const bytes = seal(settled, runtime.random(32));
      if (bytes.length > 0) this.#send(socket, bytes, source);
    };
    void reply();
  }

  /** Sends a reply. One that cannot be sent is as good as one that was lost. */
  #send(socket: Datagrams, bytes: Uint8Array, source: DatagramSource): void {
    socket.send(bytes, source).catch((error) => {
      if (!(error instanceof SystemError)) throw error;
      this.#server.counters.add("failed: reply");
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
