/**
 * Packets that come in connections of TCP: as the first bytes, or as the path
 * of an HTTP request. Whatever comes, the answer is the same: none, or 404.
 * @module
 */

import type { StreamListen } from "../../config/config.ts";
import { NOT_FOUND, readHttpPacket } from "../../dialects/http.ts";
import type {
  DatagramSource,
  Listener,
  Runtime,
  Stream,
} from "../../runtime/runtime.ts";
import { addressToBytes, isIpv4 } from "../../values/address.ts";
import type { Counters } from "../report/counters.ts";
import { ifRefused } from "../../values/errors.ts";

/** The most bytes that are read of a connection, and for how long. */
const MAX_BYTES = 2048;
const TIMEOUT_MS = 3000;
/** Most reads after the answer, whose bytes are ignored. */
const MAX_DRAINED = 16;
/** Most connections at a time; one more closes an old one. */
const MAX_CONNECTIONS = 256;

/** Takes what a connection carried: readings of one packet, one of which may open. */
type ReceiveStream = (
  readings: readonly Uint8Array[],
  source: DatagramSource,
) => void;

/** Listens for packets in connections, at any number of places. */
export class Streams {
  readonly #runtime: Runtime;
  readonly #counters: Counters;
  readonly #receive: ReceiveStream;
  /** Connections and their sources, the oldest first. */
  readonly #open = new Map<Stream, string>();

  constructor(runtime: Runtime, counters: Counters, receive: ReceiveStream) {
    this.#runtime = runtime;
    this.#counters = counters;
    this.#receive = receive;
  }

  /** Listens at one place. Throws SystemError. */
  listen(at: StreamListen): Promise<Listener> {
    return this.#runtime.listenStream(at, (connection) => {
      void ifRefused(
        () => this.#serve(at, connection),
        () => this.#counters.add("failed: connection"),
      );
    });
  }

  /** Closes the connections that are open still. */
  close(): void {
    for (const connection of this.#open.keys()) connection.close();
  }

  /**
   * Closes the oldest connection of the source that has most. The newest one
   * always finds room: a client that holds many sends nothing over them, and a
   * client sends its packet at once. No source has a limit of its own, as
   * clients share addresses with strangers.
   */
  #shed(): void {
    const counts = new Map<string, number>();
    for (const source of this.#open.values()) {
      counts.set(source, (counts.get(source) ?? 0) + 1);
    }
    const most = Math.max(...counts.values());
    for (const [stream, source] of this.#open) {
      if (counts.get(source) !== most) continue;
      this.#open.delete(stream);
      this.#counters.add("refused: connections");
      return stream.close();
    }
  }

  async #serve({ transport }: StreamListen, stream: Stream): Promise<void> {
    if (this.#open.size >= MAX_CONNECTIONS) this.#shed();
    this.#open.set(stream, sourceOf(stream.peer.host));
    const timeout = new AbortController();
    // Closing ends the read that waits.
    const late = this.#runtime.sleep(TIMEOUT_MS, timeout.signal)
      .then(() => stream.close());
    try {
      const http = transport === "http";
      const bytes = await readStart(stream, http);
      const readings = http ? readHttpPacket(bytes) : [bytes];
      this.#receive(readings, stream.peer);
      if (http) await answer(stream);
    } finally {
      timeout.abort();
      this.#open.delete(stream);
      stream.close();
      await late;
    }
  }
}

/** An address, or the /64 of an IPv6 one: its owner has all of it. */
function sourceOf(address: string): string {
  const bytes = isIpv4(address) ? null : addressToBytes(address);
  return bytes ? bytes.subarray(0, 8).toHex() : address;
}

/** Answers, and lets the other end take it: closing with bytes unread would cut it short. */
async function answer(stream: Stream): Promise<void> {
  await stream.write(NOT_FOUND);
  await stream.finish();
  for (let chunks = 0; chunks < MAX_DRAINED; chunks++) {
    if (await stream.read() === null) return;
  }
}

/** Reads until the other end has finished, or an HTTP request has; what came before an end of another kind is dropped. */
async function readStart(
  stream: Stream,
  http: boolean,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(MAX_BYTES);
  let size = 0;
  while (size < MAX_BYTES) {
    const chunk = await stream.read();
    if (!chunk) break;
    const taken = chunk.subarray(0, MAX_BYTES - size);
    bytes.set(taken, size);
    size += taken.length;
    if (http && endsHead(bytes.subarray(0, size))) break;
  }
  return bytes.slice(0, size);
}

const NEWLINE = 10;
const RETURN = 13;

/** True if an empty line has arrived. */
function endsHead(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(NEWLINE); at >= 0;) {
    const next = bytes[at + 1] === RETURN ? at + 2 : at + 1;
    if (bytes[next] === NEWLINE) return true;
    at = bytes.indexOf(NEWLINE, at + 1);
  }
  return false;
}
