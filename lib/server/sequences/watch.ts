/** Watches for the hits of sequences: the kernel, tcpdump, or sockets of our own. */

import {
  type Config,
  datagramPlaces,
  type SequenceEntry,
  type Watch,
} from "../../config/config.ts";
import { LOG_GROUP, readTold } from "../../firewall/nft/sequences/chains.ts";
import type { Datagrams, Runtime } from "../../runtime/runtime.ts";
import { SequenceMachine, trapsBeside } from "../../sequences/machine.ts";
import type { Packet } from "../../sequences/packet.ts";
import {
  formatHit,
  type Hit,
  type Sequence,
  type SequenceAction,
} from "../../sequences/sequence.ts";
import {
  type CaptureListener,
  keepCapturing,
  logCommand,
  sniffCommand,
} from "../../sequences/tcpdump.ts";
import { isLinkLocal, isLoopback } from "../../values/address.ts";
import type { Server } from "../state/server.ts";
import { SystemError } from "../../values/errors.ts";
import { onePort } from "../../values/ports.ts";

/** Number of trap ports on either side of each hit: sniffing them costs nothing. */
const SNIFF_TRAPS = 16;
const SOCKET_TRAPS = 1;

/** Shortest interval between lookups of the machine's own addresses, milliseconds. */
const ADDRESSES_MS = 1000;

export interface Completed {
  /** The entry's. */
  readonly name: string;
  readonly action: SequenceAction;
  /** Canonical. */
  readonly address: string;
  /** True if the kernel has already carried it out. */
  readonly inKernel: boolean;
  /** Null where the kernel has judged. */
  readonly sequence: Sequence | null;
}

interface WatchSetting extends Pick<Server, "runtime" | "store"> {
  readonly config: Config;
  readonly sequences: readonly SequenceEntry[];
  /** Current sequences of these entries; they may change after each completion. */
  active(): Sequence[];
  complete(completed: Completed): void;
  /** It hears now (null), or why it does not. */
  changed(trouble: string | null): void;
}

export interface Watcher {
  stop(): Promise<void>;
}

/** Starts each watch; it hears as soon as this resolves, unless it has said why not. */
export const WATCHES: Readonly<
  Record<Watch, (setting: WatchSetting) => Promise<Watcher>>
> = { kernel: watchKernel, sniff: watchBySniffing, socket: watchSockets };

function watchKernel(setting: WatchSetting): Promise<Watcher> {
  return startCapture("nflog", logCommand(LOG_GROUP), {
    ...setting,
    hear: ({ packet, prefix }) => {
      const told = prefix === null ? null : readTold(prefix);
      if (!told || !packet) return;
      const { source: address } = packet;
      setting.complete({ ...told, address, inKernel: true, sequence: null });
    },
  });
}

function watchBySniffing(setting: WatchSetting): Promise<Watcher> {
  const { runtime, config } = setting;
  const hits = hitsOf(setting.sequences);
  const used = config.services.flatMap(({ ports }) => ports);
  const knocks = datagramPlaces(config).map(({ port }) => onePort("udp", port));
  const traps = trapsBeside(hits, SNIFF_TRAPS, [...used, ...knocks]);
  const ports = [...hits, ...traps];
  const listen = follow(setting, ports);
  const isOurs = ownAddresses(runtime);
  const targets = new Set(
    setting.sequences.flatMap(({ opens }) => opens.map(({ target }) => target)),
  );
  return startCapture("sniff", sniffCommand(ports), {
    ...setting,
    hear: ({ packet }) => {
      if (!packet) return;
      // Passed on to others: that is nothing to us, unless it is named.
      if (!targets.has(packet.target) && !isOurs(packet.target)) return;
      listen(packet);
    },
  });
}

async function watchSockets(setting: WatchSetting): Promise<Watcher> {
  const { runtime, changed } = setting;
  const hits = hitsOf(setting.sequences);
  const ports = [...hits, ...trapsBeside(hits, SOCKET_TRAPS)];
  const listen = follow(setting, ports);
  const sockets: Datagrams[] = [];
  const deaf: string[] = [];
  for (const hit of ports) {
    const { protocol, port } = hit;
    const packet = { target: "", protocol, port, flags: 0, sequenceNumber: 0 };
    try {
      const socket = await runtime.listenDatagram(
        { host: "::", port },
        (_, { host: source, port: sourcePort }) =>
          listen({ ...packet, source, sourcePort }),
        { apart: true },
      );
      sockets.push(socket);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // Somebody else's port is no trap of ours.
      if (hits.includes(hit)) deaf.push(`${formatHit(hit)}: ${error.message}`);
    }
  }
  changed(deaf.length > 0 ? `cannot listen on ${deaf.join(", ")}` : null);
  return {
    stop: async () => {
      await Promise.all(sockets.map((socket) => socket.close()));
    },
  };
}

/** Follows packets through the sequences and reports complete ones. */
function follow(
  { runtime, active, complete }: WatchSetting,
  ports: readonly Hit[],
): (packet: Packet) => void {
  let sequences = active();
  let machine = new SequenceMachine(sequences, ports);
  return (packet) => {
    const events = machine.hear(packet, runtime.monotonicMs());
    for (const { kind, sequence, source: address } of events) {
      if (kind !== "complete") continue;
      const { name, action } = sequence;
      complete({ name, action, address, inKernel: false, sequence });
    }
    if (!events.some(({ kind }) => kind === "complete")) return;
    // What could be used once is not the right one any more.
    const now = active();
    if (JSON.stringify(now) === JSON.stringify(sequences)) return;
    sequences = now;
    machine = new SequenceMachine(sequences, ports);
  };
}

/** Starts a capture, whose process is known to the next server, too. */
export function startCapture(
  name: string,
  argv: readonly string[],
  { runtime, store, hear, changed }:
    & Pick<Server, "runtime" | "store">
    & Pick<CaptureListener, "hear" | "changed">,
): Promise<Watcher> {
  const fact = `capture ${name}`;
  return keepCapturing(runtime, argv, {
    hear,
    changed,
    started: (pid) => store.setFact(fact, pid),
    lastPid: () => (store.fact(fact) ?? null) as number | null,
  });
}

function hitsOf(sequences: readonly SequenceEntry[]): Hit[] {
  const all = sequences.flatMap(({ opens, closes }) => [...opens, closes ?? []])
    .flat().flatMap(({ hits }) => hits);
  return [...new Map(all.map((hit) => [formatHit(hit), hit])).values()];
}

/** Returns a check for this machine's addresses, including ones added later. */
export function ownAddresses(runtime: Runtime): (address: string) => boolean {
  let known = new Set<string>();
  let lookedMs = -Infinity;
  return (address) => {
    if (known.has(address) || isLoopback(address) || isLinkLocal(address)) {
      return true;
    }
    const nowMs = runtime.monotonicMs();
    if (nowMs - lookedMs < ADDRESSES_MS) return false;
    lookedMs = nowMs;
    known = new Set(runtime.ownAddresses());
    return known.has(address);
  };
}
