/**
 * The state machine of port sequences: packets in, events out. Pure: the time
 * is an argument. Every source has a state of its own, so that no one's knocks
 * disturb another's.
 * @module
 */

import { onePort, overlapPorts, type PortRange } from "../values/ports.ts";
import type { Packet } from "./packet.ts";
import { formatHit, type Hit, type Sequence } from "./sequence.ts";

/** Result of one packet for one sequence. */
export interface SequenceEvent {
  /** `hit`: one step further; `complete`: the last step; `wrong`, `late`: progress lost. */
  readonly kind: "hit" | "complete" | "wrong" | "late";
  /** Sequence that the packet counted for. */
  readonly sequence: Sequence;
  /** Address that the packet came from, canonical. */
  readonly source: string;
  /** Number of correct hits so far. */
  readonly hits: number;
}

/**
 * Most sources remembered at once, about 300 bytes each; beyond it, the one
 * that was quiet longest is forgotten.
 */
export const MAX_SOURCES = 65_536;

/** One sequence that a source is within. */
interface Progress {
  readonly sequence: Sequence;
  readonly hits: number;
  readonly firstMs: number;
}

/** State of one source. */
interface Source {
  readonly progress: readonly Progress[];
  /** Right hits by TCP of late, so that a retransmitted one is known. */
  readonly taken: readonly Taken[];
}

interface Taken extends Pick<Packet, "port" | "sourcePort" | "sequenceNumber"> {
  readonly atMs: number;
}

/** Number of correct hits kept per source to recognise retransmissions. */
const MAX_TAKEN = 8;

/** Longest time in which a system retransmits a SYN: about two minutes on Linux. */
const RETRANSMIT_MS = 130_000;

/**
 * Follows all sources through some sequences.
 *
 * A hit that is right for one or more of the sequences that a source is within
 * brings those further and ends the others; so sequences that begin alike go
 * on together, and one that is the beginning of another does not stop it. A
 * hit that is right for none ends them all, and is then taken for a first one.
 * Packets to ports of no sequence are ignored.
 *
 * @example
 * ```ts
 * import {
 *   FIRST_PACKET,
 *   FLAG,
 *   type Packet,
 *   parseHit,
 *   type Sequence,
 *   SequenceMachine,
 * } from "@knock/knock/protocol";
 * import { assertEquals } from "@std/assert";
 *
 * const sequence: Sequence = {
 *   name: "ssh",
 *   action: "open",
 *   hits: [parseHit("tcp/7000")!, parseHit("tcp/8000")!],
 *   withinMs: 15_000,
 *   open: [{ protocol: "tcp", first: 22, last: 22 }],
 *   forSeconds: 3600,
 *   once: false,
 *   flags: FIRST_PACKET,
 *   target: null,
 * };
 * const machine = new SequenceMachine([sequence]);
 * const packet = (port: number): Packet => ({
 *   source: "192.0.2.7",
 *   target: "198.51.100.1",
 *   protocol: "tcp",
 *   sourcePort: 40_000,
 *   port,
 *   flags: FLAG.syn,
 *   sequenceNumber: port,
 * });
 * assertEquals(machine.hear(packet(7000), 0).map(({ kind }) => kind), ["hit"]);
 * assertEquals(machine.hear(packet(8000), 900).map(({ kind }) => kind), [
 *   "complete",
 * ]);
 * ```
 */
export class SequenceMachine {
  readonly #sequences: readonly Sequence[];
  readonly #ports: ReadonlySet<string>;
  readonly #maxSources: number;
  /** In the order of their last packet. */
  readonly #sources = new Map<string, Source>();

  /** Creates a machine; a packet to one of the `traps` is always a wrong hit. */
  constructor(
    sequences: readonly Sequence[],
    traps: readonly Hit[] = [],
    maxSources = MAX_SOURCES,
  ) {
    this.#sequences = sequences;
    this.#maxSources = maxSources;
    const hits = sequences.flatMap(({ hits }) => hits);
    this.#ports = new Set([...hits, ...traps].map(formatHit));
  }

  /** Number of sources remembered. */
  get sources(): number {
    return this.#sources.size;
  }

  /** Processes a packet; `nowMs` comes from a monotonic clock. */
  hear(packet: Packet, nowMs: number): SequenceEvent[] {
    if (!this.#ports.has(formatHit(packet))) return [];
    const seeing = this.#sequences.filter((sequence) => sees(sequence, packet));
    if (seeing.length === 0) return [];
    const { source } = packet;
    const old = this.#sources.get(source) ?? { progress: [], taken: [] };
    if (old.taken.some((taken) => isRetransmitted(taken, packet, nowMs))) {
      return [];
    }

    const events: SequenceEvent[] = [];
    const tell = (kind: SequenceEvent["kind"], { sequence, hits }: Progress) =>
      events.push({ kind, sequence, source, hits });

    const alive = old.progress.filter((progress) => {
      const late = nowMs - progress.firstMs > progress.sequence.withinMs;
      if (late) tell("late", progress);
      return !late;
    });
    const unseen = alive.filter(({ sequence }) => !seeing.includes(sequence));
    const seen = alive.filter(({ sequence }) => seeing.includes(sequence));
    const right = seen.filter(({ sequence, hits }) =>
      isHit(sequence, hits, packet)
    );
    for (const progress of seen) {
      if (!right.includes(progress)) tell("wrong", progress);
    }
    const further = right.length > 0 ? right : seeing
      .filter((sequence) => isHit(sequence, 0, packet))
      .map((sequence) => ({ sequence, hits: 0, firstMs: nowMs }));
    const next = further.map((progress) => ({
      ...progress,
      hits: progress.hits + 1,
    }));
    for (const progress of next) {
      tell(isComplete(progress) ? "complete" : "hit", progress);
    }
    const { protocol, port, sourcePort, sequenceNumber } = packet;
    const taken = { port, sourcePort, sequenceNumber, atMs: nowMs };
    this.#remember(source, {
      progress: [...unseen, ...next.filter((each) => !isComplete(each))],
      taken: next.length > 0 && protocol === "tcp"
        ? [...old.taken, taken].slice(-MAX_TAKEN)
        : old.taken,
    });
    return events;
  }

  #remember(source: string, state: Source): void {
    this.#sources.delete(source);
    if (state.progress.length + state.taken.length === 0) return;
    this.#sources.set(source, state);
    if (this.#sources.size <= this.#maxSources) return;
    const [quietest] = this.#sources.keys();
    this.#sources.delete(quietest!);
  }
}

function sees({ flags, target }: Sequence, packet: Packet): boolean {
  if (target !== null && target !== packet.target) return false;
  return packet.protocol === "udp" ||
    (packet.flags & flags.set) === flags.set &&
      (packet.flags & flags.clear) === 0;
}

function isHit({ hits }: Sequence, index: number, packet: Packet): boolean {
  const hit = hits[index];
  return hit?.port === packet.port && hit.protocol === packet.protocol;
}

function isComplete({ sequence, hits }: Progress): boolean {
  return hits === sequence.hits.length;
}

function isRetransmitted(taken: Taken, packet: Packet, nowMs: number): boolean {
  return packet.protocol === "tcp" && taken.port === packet.port &&
    taken.sourcePort === packet.sourcePort &&
    taken.sequenceNumber === packet.sequenceNumber &&
    nowMs - taken.atMs <= RETRANSMIT_MS;
}

/**
 * Trap ports: up to `reach` ports on either side of each hit, except those in
 * `used`. A source that hits one is scanning, and loses its progress.
 */
export function trapsBeside(
  hits: readonly Hit[],
  reach: number,
  used: readonly PortRange[] = [],
): Hit[] {
  const known = new Set(hits.map(formatHit));
  const traps: Hit[] = [];
  for (const { protocol, port } of hits) {
    for (let near = port - reach; near <= port + reach; near++) {
      const trap: Hit = { protocol, port: near };
      const range = onePort(protocol, near);
      if (near < 1 || near > 65535 || known.has(formatHit(trap))) continue;
      if (used.some((other) => overlapPorts(other, range))) continue;
      known.add(formatHit(trap));
      traps.push(trap);
    }
  }
  return traps;
}
