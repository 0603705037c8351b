/**
 * The way of a packet: opened in the dialects that have its form, decided on
 * at once, and answered when it was done. What costs little to refuse is
 * refused as it comes, so that the socket is emptied in time; the costly steps
 * wait for their dialect's turn.
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import type { Dialect, Opened } from "../../dialects/dialect.ts";
import type { Datagrams, DatagramSource } from "../../runtime/runtime.ts";
import { carryOut } from "../grants/change.ts";
import { followClock } from "../grants/upkeep.ts";
import { attempt } from "../report/log.ts";
import type { Server } from "../state/server.ts";
import { decide } from "./decide.ts";
import { type LineName, Turns } from "./limits.ts";
import { SystemError } from "../../values/errors.ts";

/** Longest time of costly steps before new packets, and all other work, get a turn. */
const SLICE_MS = 5;

/** A packet on its way: what may open it, and where in that it is. */
interface Attempt {
  /** The readings that have a dialect's form; several dialects may know one. */
  readonly candidates: (readonly [dialect: Dialect, bytes: Uint8Array])[];
  readonly source: DatagramSource;
  readonly socket: Datagrams | null;
  at: number;
  /** Goes on with a search for the client; absent: none is begun. */
  more?: (() => Opened) | undefined;
}

/** Takes packets from the entrances to their decision, and replies back. */
export class Receiver {
  readonly #server: Server;
  readonly #turns = new Turns<Attempt>();
  readonly #copies = new Copies();
  /** Packets that are being opened by a slow step. */
  readonly #opening = new Set<Promise<void>>();
  /** Resolves when no packet waits for its costly step; null when none does. */
  #working: Promise<void> | null = null;
  #isStopping = false;

  constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Takes one packet, of which one reading may open; the bytes are only valid
   * until it returns, and `socket` is null where nothing can be answered. What
   * costs little to refuse is refused here; the rest waits for its turn. Never
   * throws, whatever came.
   */
  receive(
    readings: readonly Uint8Array[],
    source: DatagramSource,
    socket: Datagrams | null,
  ): void {
    this.#server.counters.add("received");
    const candidates: Attempt["candidates"] = [];
    for (const bytes of readings) {
      for (const dialect of this.#server.active.dialects) {
        if (dialect.recognises(bytes)) candidates.push([dialect, bytes]);
      }
    }
    this.#try({ candidates, source, socket, at: 0 }, false);
  }

  /** Resolves when all packets that were taken are decided on. */
  async settled(): Promise<void> {
    await this.#working;
    await Promise.all(this.#opening);
  }

  /** Resolves as {@linkcode settled}; searches for clients, which may take long, are given up. */
  stop(): Promise<void> {
    this.#isStopping = true;
    return this.settled();
  }

  /** Goes on with a packet, until it is opened or refused, or needs a costly step. */
  #try(attempt: Attempt, mayCost: boolean): void {
    const { candidates } = attempt;
    let opened: Opened = NO_FORM;
    for (; attempt.at < candidates.length; attempt.at++) {
      const isSearch = attempt.more !== undefined;
      const next = this.#open(attempt, mayCost);
      if (!next) return this.#wait(attempt, isSearch);
      mayCost = false;
      opened = next;
      if (opened.ok || opened === COPY) break;
      if (opened.later) return this.#openLater(opened.later(), attempt);
    }
    this.#decide(opened, attempt);
  }

  /** Opens a packet in a dialect; null: it needs a costly step, and may not take it yet. */
  #open(attempt: Attempt, may: boolean): Opened | null {
    const { candidates, source, at, more } = attempt;
    const [dialect, bytes] = candidates[at]!;
    const { runtime, store: { replay } } = this.#server;
    attempt.more = undefined;
    // Looked for when it comes, and again when it has waited.
    const isNew = dialect.answersAgain?.(bytes) || !this.#copies.has(bytes);
    if (!isNew) return COPY;
    let asked = more !== undefined;
    const opened = more?.() ?? dialect.open(bytes, {
      nowMs: runtime.nowMs(),
      source,
      seen: (identity) => replay.seen(identity),
      mayCost: () => {
        asked = true;
        return may;
      },
    });
    if (!asked) return opened;
    if (!may) return null;
    if (!opened.ok && opened.more) {
      attempt.more = opened.more;
      return null;
    }
    const isAuthentic = opened.ok || opened.later || opened.why === "replay";
    if (isAuthentic) this.#copies.add(bytes);
    return !opened.ok && opened.later
      ? this.#freeing(bytes, opened.later)
      : opened;
  }

  /** Has a packet wait for its turn; a search that goes on was at the head of its line. */
  #wait(attempt: Attempt, isSearch: boolean): void {
    const line = lineOf(attempt);
    if (isSearch && attempt.more) return this.#turns.again(line, attempt);
    // The bytes are the socket's, for its next packet.
    const kept = attempt.candidates.map(([dialect, bytes]) =>
      [dialect, new Uint8Array(bytes)] as const
    );
    const waits = this.#turns.add(line, { ...attempt, candidates: kept });
    if (!waits) return this.#server.counters.add("refused: rate");
    this.#working ??= this.#work();
  }

  /** Takes the costly steps, each dialect's in its turn. */
  async #work(): Promise<void> {
    const { runtime } = this.#server;
    // Not before the others of a batch have come.
    await null;
    let nowMs = runtime.monotonicMs();
    let untilMs = nowMs + SLICE_MS;
    for (let attempt: Attempt | undefined; (attempt = this.#turns.next());) {
      if (this.#isStopping && attempt.more) {
        this.#server.counters.add("refused: rate");
        continue;
      }
      const line = lineOf(attempt);
      this.#try(attempt, true);
      const startMs = nowMs;
      nowMs = runtime.monotonicMs();
      this.#turns.charge(line, nowMs - startMs);
      if (nowMs < untilMs) continue;
      await runtime.sleep(0);
      nowMs = runtime.monotonicMs();
      untilMs = nowMs + SLICE_MS;
    }
    this.#working = null;
  }

  /** Opens a packet by its slow step; one that found no room may come again. */
  #freeing(bytes: Uint8Array, later: () => Promise<Opened>): Opened {
    return {
      ok: false,
      why: "busy",
      later: async () => {
        const opened = await later();
        if (!opened.ok && opened.why === "busy") this.#copies.delete(bytes);
        return opened;
      },
    };
  }

  #openLater(later: Promise<Opened>, attempt: Attempt): void {
    const opening = later.then((opened) => this.#decide(opened, attempt));
    this.#opening.add(opening);
    opening.finally(() => this.#opening.delete(opening));
  }

  /** Judges what was opened, by the clock of this moment. */
  #decide(opened: Opened, { source, socket }: Attempt): void {
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
      if (!settled) return;
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

/** The line in which a packet waits. */
function lineOf({ candidates, at, more }: Attempt): LineName {
  const [{ name }] = candidates[at]!;
  return more ? `${name} search` : name;
}

const NO_FORM: Opened = Object.freeze({ ok: false, why: "form" });
const COPY: Opened = Object.freeze({ ok: false, why: "replay" });

/** Most packets remembered byte for byte, and most bytes of them. */
const MAX_COPIES = 8192;
const MAX_COPIED_BYTES = 2 * 1024 * 1024;

/**
 * The authentic packets of late: refuses their copies for a look-up and a
 * comparison, whatever their dialect would have to do to recognise them, and
 * whether they were accepted or refused by policy.
 */
export class Copies {
  readonly #packets = new Map<number, Uint8Array>();
  #size = 0;

  has(packet: Uint8Array): boolean {
    const known = this.#packets.get(endOf(packet));
    return known?.length === packet.length && timingSafeEqual(known, packet);
  }

  add(packet: Uint8Array): void {
    this.delete(packet);
    this.#packets.set(endOf(packet), new Uint8Array(packet));
    this.#size += packet.length;
    while (
      this.#packets.size > MAX_COPIES || this.#size > MAX_COPIED_BYTES
    ) this.#remove(this.#packets.keys().next().value!);
  }

  delete(packet: Uint8Array): void {
    this.#remove(endOf(packet));
  }

  #remove(end: number): void {
    this.#size -= this.#packets.get(end)?.length ?? 0;
    this.#packets.delete(end);
  }
}

/** The last six bytes: of a mac, a signature or a ciphertext. */
function endOf(packet: Uint8Array): number {
  let end = 0;
  for (let at = Math.max(0, packet.length - 6); at < packet.length; at++) {
    end = end * 256 + packet[at]!;
  }
  return end;
}
